"""Attention heads set by hand at initialisation, so that copying a sentence need not be discovered by training.

The residual stream is parted: words live in one half of it, and what heads note about a position in slots of the other
half, so that notes never blur the words; a few directions of the words' half are flags that only certain tokens carry.
Layer 0 notes the last three tokens. Layer 1 copies (find where the last ones occurred before, attend to what followed),
notes the first token of the sentence, and notes whether the position is passage, question or reply. Layer 2 copies
again, now also demanding the same sentence, and lets each word of a question find the same word in a passage and fetch
the note of its sentence. Layer 3 gathers what the question's words fetched: the first token of the sentence with most
words of the question becomes a likely first token of the reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

# Widths of the slots for a hidden size of 256; others in proportion. Together they fill half the hidden size.
_SLOTS = {"back1": 32, "back2": 24, "back3": 16, "sentence": 22, "role": 12, "found": 22}
_SLOT_SUM = 128
_ENDS, _PASSAGE, _OTHER, _FUNCTION = range(4)  # flags: the first directions of the words' half
_NUM_FLAGS = 4
_FLAG_SHARES = {_ENDS: 0.8, _PASSAGE: 0.9, _OTHER: 0.9, _FUNCTION: 0.3}  # of the squared length of a flagged embedding


@dataclass(frozen=True)
class Strengths:
    """How strongly the heads are set; found by hand on random tokens and on training questions."""

    match: float = 4.0  # weight of a query and of a key that look for equal tokens
    carry: float = 0.4  # output of the heads that note something
    hint: float = 0.08  # output of the copying head in layer 1, small beside the words so that layer 2 still reads them
    copy: float = 1.6  # output of the copying heads in layer 2
    near: float = 7.0  # sharpness of "exactly n tokens back"
    start: float = 6.0  # sharpness of "first in a sentence" and of "opens a role"
    nearest: float = 12.0  # sharpness of "the nearest of them"
    find: float = 3.5  # weight of a query and of a key that look for the question's words
    keep: float = 13.0  # how strongly the finding heads keep to passages
    fetch: float = 0.8  # output of the finding heads
    answer: float = 6.4  # output of the gathering head
    ask: float = 4.0  # how strongly the gathering head keeps to questions
    content: float = 3.0  # how far the gathering head keeps off function words
    damping: float = 0.05  # what is left of the random weights of a set head


@dataclass(frozen=True)
class Marks:
    """Ids of the tokens that carry a flag: after which a sentence starts, that open a passage, that open a question or
    reply, and that say little by themselves.
    """

    sentence_ends: list[int]
    passage_openers: list[int]
    other_openers: list[int]
    function_words: list[int]


@torch.no_grad()
def set_copying_heads(model: GPTNeoXForCausalLM, words: Tensor, marks: Marks, strengths: Strengths, seed: int) -> None:
    """Set the embeddings and heads of the first four layers of a freshly initialised model, in place.

    Args:
        model: at least four layers and four heads.
        words: a vector for each token, `[vocab, hidden / 2]`, as long as its embedding should be.
        marks: the tokens that part sentences and roles.
        strengths: how strongly.
        seed: of the random directions that keep signals apart.

    Raises:
        ValueError: the model has too few layers or heads.
    """
    config = model.config
    if config.num_hidden_layers < 4 or config.num_attention_heads < 4:
        raise ValueError(
            f"{config.num_hidden_layers} layers of {config.num_attention_heads} heads: copying heads need 4 layers of 4"
        )
    _Wiring(model, _flagged(words, marks), strengths, seed=seed).set_all()


def _flagged(words: Tensor, marks: Marks) -> Tensor:
    """The words with their first directions cleared for flags, every vector as long as before."""
    lengths = words.norm(dim=-1, keepdim=True)
    words = words.clone()
    words[:, :_NUM_FLAGS] = 0
    words *= lengths / words.norm(dim=-1, keepdim=True)
    flagged = {
        _FUNCTION: marks.function_words,
        _ENDS: marks.sentence_ends,
        _PASSAGE: marks.passage_openers,
        _OTHER: marks.other_openers,
    }
    for flag, tokens in flagged.items():
        words[tokens] *= (1 - _FLAG_SHARES[flag]) ** 0.5
        words[tokens, flag] = lengths[tokens, 0] * _FLAG_SHARES[flag] ** 0.5
    return words


class _Wiring:
    """Directions in which signals travel, and the weights that send and read them."""

    def __init__(self, model: GPTNeoXForCausalLM, words: Tensor, strengths: Strengths, seed: int) -> None:
        config = model.config
        self._attentions: list[Any] = [layer.attention for layer in model.gpt_neox.layers]
        self._embeddings: Tensor = model.gpt_neox.embed_in.weight  # [vocab, hidden]
        self._hidden, self._heads = config.hidden_size, config.num_attention_heads
        self._size = self._hidden // self._heads
        self._rotary = int(self._size * dict(config.rope_parameters or {})["partial_rotary_factor"])
        self._frequencies = 10000.0 ** (-torch.arange(0, self._rotary, 2).float() / self._rotary)
        self._strengths = strengths
        self._random = torch.Generator().manual_seed(seed)
        basis = self._rotation(self._hidden)
        self._words = basis[:, : self._hidden // 2]  # [hidden, hidden / 2]
        self._slots = self._parted(basis[:, self._hidden // 2 :])  # name -> [hidden, width]
        self._embeddings.copy_(words @ self._words.T)
        self._read = self._reader()

    def set_all(self) -> None:
        for back in (1, 2, 3):
            self._set_previous(head=back - 1, back=back)
        trail: list[tuple[str | Tensor, str, int]] = [
            (self._read, "back1", 24),
            ("back1", "back2", 14),
            ("back2", "back3", 10),
        ]
        sentence: list[tuple[str | Tensor, str, int]] = [
            (self._read, "back1", 20),
            ("back1", "back2", 12),
            ("sentence", "sentence", 16),
        ]
        self._set_copier(1, 0, trail)
        self._set_marker(1, "sentence", [("back1", _ENDS), ("back2", _PASSAGE), ("back2", _OTHER)])
        self._set_marker(2, "role", [(self._read, _PASSAGE), (self._read, _OTHER)])
        self._set_copier(2, 0, sentence)
        self._set_copier(2, 1, sentence)
        for head in (2, 3):
            self._set_finder(head)
        self._set_gatherer(head=0)

    def _rotation(self, size: int) -> Tensor:
        return torch.linalg.qr(torch.randn(size, size, generator=self._random))[0]

    def _reader(self) -> Tensor:
        """`[size, hidden]`: the flags, then random directions of the rest of the words' half."""
        count = self._hidden // 2 - _NUM_FLAGS
        return torch.cat(
            [self._words.T[:_NUM_FLAGS], self._rotation(count)[: self._size - _NUM_FLAGS] @ self._words.T[_NUM_FLAGS:]]
        )

    def _parted(self, columns: Tensor) -> dict[str, Tensor]:
        widths = [width * columns.shape[1] // _SLOT_SUM for width in _SLOTS.values()]
        return dict(zip(_SLOTS, columns.split([*widths, columns.shape[1] - sum(widths)], dim=1), strict=False))

    def _head(self, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Views of one head: weight `[3 * size, hidden]`, bias `[3 * size]`, output `[hidden, size]`; damped."""
        attention = self._attentions[layer]
        weight = attention.query_key_value.weight.view(self._heads, 3 * self._size, self._hidden)[head]
        bias = attention.query_key_value.bias.view(self._heads, 3 * self._size)[head]
        output = attention.dense.weight[:, head * self._size : (head + 1) * self._size]
        weight.mul_(self._strengths.damping)
        weight[2 * self._size :] = 0
        bias.zero_()
        output.zero_()
        return weight, bias, output

    def _sees(self, source: str | Tensor, count: int) -> Tensor:
        """How a head sees a word or a note: `[count, hidden]`."""
        return self._read[:count] if not isinstance(source, str) else self._slots[source].T[:count]

    def _prefer_distance(self, bias: Tensor, frequency: int, back: float, sharpness: float) -> None:
        """Let a head favour keys `back` tokens before the query, seen by one rotary frequency."""
        half, size = self._rotary // 2, self._size
        angle = self._frequencies[frequency] * back
        bias[frequency] = sharpness * torch.cos(angle)
        bias[half + frequency] = -sharpness * torch.sin(angle)
        bias[size + frequency] = sharpness

    def _note(self, weight: Tensor, output: Tensor, slot: str, strength: float) -> None:
        """Let a head write the attended word into a slot."""
        directions = self._slots[slot]
        width = directions.shape[1]
        weight[2 * self._size : 2 * self._size + width] = self._read[:width]
        output[:, :width] = directions * strength

    def _set_previous(self, head: int, back: int) -> None:
        weight, bias, output = self._head(0, head)
        for frequency in range(self._rotary // 2):
            self._prefer_distance(bias, frequency, back, sharpness=self._strengths.near)
        self._note(weight, output, f"back{back}", strength=self._strengths.carry)

    def _set_copier(self, layer: int, head: int, readers: list[tuple[str | Tensor, str, int]]) -> None:
        """Attend to what followed an earlier place where query notes equal key notes, and say it."""
        weight, _, output = self._head(layer, head)
        first = self._rotary
        for query, key, count in readers:
            weight[first : first + count] = self._strengths.match * self._sees(query, count)
            weight[self._size + first : self._size + first + count] = self._strengths.match * self._sees(key, count)
            first += count
        said = self._reader()
        weight[2 * self._size :] = said
        output.copy_(said.T * (self._strengths.hint if layer == 1 else self._strengths.copy))

    def _set_marker(self, head: int, slot: str, openers: list[tuple[str | Tensor, int]]) -> None:
        """Attend to the nearest token of which a note, or which itself, has one of the flags; note that token."""
        weight, bias, output = self._head(1, head)
        for place, (source, flag) in enumerate(openers, self._rotary):
            weight[self._size + place] = self._strengths.start * self._sees(source, _NUM_FLAGS)[flag]
            bias[place] = self._strengths.start
        self._prefer_distance(bias, frequency=3, back=0, sharpness=self._strengths.nearest)
        self._prefer_distance(bias, frequency=4, back=0, sharpness=2 * self._strengths.nearest)
        self._note(weight, output, slot, strength=self._strengths.carry)

    def _set_finder(self, head: int) -> None:
        """Attend from a word to the same word in a passage, and fetch the note of its sentence."""
        weight, bias, output = self._head(2, head)
        size, first = self._size, self._rotary
        weight[size + first] = self._strengths.keep * self._slots["role"].T[_PASSAGE]
        bias[first] = self._strengths.keep
        seen = self._reader()[_NUM_FLAGS : size - first + _NUM_FLAGS - 1]
        weight[first + 1 : size] = self._strengths.find * seen
        weight[size + first + 1 : 2 * size] = self._strengths.find * seen
        found, sentence = self._slots["found"], self._slots["sentence"]
        weight[2 * size : 2 * size + sentence.shape[1]] = sentence.T
        output[:, : sentence.shape[1]] = found * self._strengths.fetch

    def _set_gatherer(self, head: int) -> None:
        """Average over the last twenty or so tokens what the finding heads fetched, and say it."""
        weight, bias, output = self._head(3, head)
        for frequency, sharpness in ((4, 7.0), (5, 6.0)):
            self._prefer_distance(bias, frequency, back=0, sharpness=sharpness)
        key = self._size + self._rotary
        weight[key] = -self._strengths.content * (self._read[_FUNCTION] + self._read[_OTHER])
        weight[key + 1] = self._strengths.ask * self._slots["role"].T[_OTHER]
        bias[self._rotary], bias[self._rotary + 1] = self._strengths.content, self._strengths.ask
        width = self._slots["found"].shape[1]
        weight[2 * self._size : 2 * self._size + width] = self._slots["found"].T
        output[:, :width] = self._read[:width].T * self._strengths.answer


@torch.no_grad()
def copying_accuracy(model: GPTNeoXForCausalLM, length: int = 100, rows: int = 8, seed: int = 0) -> float:
    """How often the model continues the second copy of a random token sequence rightly; chance is 1 / vocab."""
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(5, model.config.vocab_size - 8, (rows, length), generator=random)
    tokens = torch.cat([first, first], 1)
    predicted = model(input_ids=tokens).logits[:, length:-1].argmax(-1)
    return float((predicted == tokens[:, length + 1 :]).float().mean())
