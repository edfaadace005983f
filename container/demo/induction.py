"""Attention heads set by hand at initialisation, so that copying a sentence need not be discovered by training.

Layer 0 writes the last three tokens into each position, and a fading average of the last ten or so. Layer 1 holds a
copying head (find where the last tokens occurred before, attend to what followed) and two heads that mark each position
with its sentence's first two tokens.
Layer 2 holds a second copying head, and one that also demands like recent words and the same sentence marks: it keeps a
reply from jumping to another place where the same few words stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

_PREVIOUS = 3


@dataclass(frozen=True)
class Strengths:
    """How strongly the heads are set; found by hand on random tokens."""

    match: float = 4.0  # weight of a query and of a key that look for equal tokens
    carry: float = 0.04  # output of the heads that carry earlier tokens
    copy: float = 0.8  # output of the copying heads
    near: float = 7.0  # sharpness of "exactly n tokens back"
    fade: float = 4.0  # sharpness of "recently"
    start: float = 2.0  # sharpness of "first in a sentence"
    damping: float = 0.05  # what is left of the random weights of a set head


@torch.no_grad()
def set_copying_heads(model: GPTNeoXForCausalLM, sentence_ends: list[int], strengths: Strengths, seed: int) -> None:
    """Set the heads of layers 0 to 2 of a freshly initialised model, in place.

    Args:
        model: at least three layers and four heads, with token embeddings already set.
        sentence_ends: ids of the tokens after which a sentence starts.
        strengths: how strongly.
        seed: of the random directions that keep the heads' signals apart.

    Raises:
        ValueError: the model has too few layers or heads.
    """
    config = model.config
    if config.num_hidden_layers < 3 or config.num_attention_heads < 4:
        raise ValueError(
            f"{config.num_hidden_layers} layers of {config.num_attention_heads} heads: copying heads need 3 layers of 4"
        )
    _Wiring(model, strengths, seed).set_all(sentence_ends)


class _Wiring:
    """Directions in which signals travel, and the weights that send and read them."""

    def __init__(self, model: GPTNeoXForCausalLM, strengths: Strengths, seed: int) -> None:
        config = model.config
        self._attentions: list[Any] = [layer.attention for layer in model.gpt_neox.layers]
        self._embeddings: Tensor = model.gpt_neox.embed_in.weight  # [vocab, hidden]
        self._hidden, self._heads = config.hidden_size, config.num_attention_heads
        self._size = self._hidden // self._heads
        self._rotary = int(self._size * dict(config.rope_parameters or {})["partial_rotary_factor"])
        self._frequencies = 10000.0 ** (-torch.arange(0, self._rotary, 2).float() / self._rotary)
        self._strengths = strengths
        self._random = torch.Generator().manual_seed(seed)
        self._read = self._directions(self._size)  # [size, hidden]: how a token is seen by matching heads
        slots = self._directions(self._hidden).T  # orthonormal columns
        self._slots = [slots[:, i * self._size : (i + 1) * self._size] for i in range(_PREVIOUS)]
        self._recent = slots[:, _PREVIOUS * self._size : (_PREVIOUS + 1) * self._size]
        marks = self._directions(self._hidden).T
        self._marks = [marks[:, i * self._size : (i + 1) * self._size] for i in range(2)]

    def set_all(self, sentence_ends: list[int]) -> None:
        for back in range(1, _PREVIOUS + 1):
            self._set_previous(head=back - 1, back=back)
        self._set_recent(head=_PREVIOUS)
        self._set_copier(layer=1, head=0, readers=self._token_readers())
        for place in (0, 1):
            self._set_start_marker(head=1 + place, place=place, sentence_ends=sentence_ends)
        self._set_copier(layer=2, head=0, readers=self._token_readers())
        alike = [(signal.T, signal.T) for signal in (self._recent, *self._marks)]
        self._set_copier(layer=2, head=1, readers=[self._token_readers()[0], *alike])

    def _directions(self, count: int) -> Tensor:
        return torch.linalg.qr(torch.randn(self._hidden, self._hidden, generator=self._random))[0][:count]

    def _head(self, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Views of one head: weight `[3 * size, hidden]`, bias `[3 * size]`, output `[hidden, size]`; damped."""
        attention = self._attentions[layer]
        weight = attention.query_key_value.weight.view(self._heads, 3 * self._size, self._hidden)[head]
        bias = attention.query_key_value.bias.view(self._heads, 3 * self._size)[head]
        weight.mul_(self._strengths.damping)
        bias.zero_()
        return weight, bias, attention.dense.weight[:, head * self._size : (head + 1) * self._size]

    def _prefer_distance(self, bias: Tensor, frequency: int, back: float, sharpness: float) -> None:
        """Let a head favour keys `back` tokens before the query, seen by one rotary frequency."""
        half, size = self._rotary // 2, self._size
        angle = self._frequencies[frequency] * back
        bias[frequency] = sharpness * torch.cos(angle)
        bias[half + frequency] = -sharpness * torch.sin(angle)
        bias[size + frequency] = sharpness

    def _set_previous(self, head: int, back: int) -> None:
        weight, bias, output = self._head(0, head)
        for frequency in range(self._rotary // 2):
            self._prefer_distance(bias, frequency, back, self._strengths.near)
        weight[2 * self._size :] = self._read
        output.copy_(self._slots[back - 1] * self._strengths.carry)

    def _set_recent(self, head: int) -> None:
        """Carry an average of the tokens just before, nearer ones with more weight."""
        weight, bias, output = self._head(0, head)
        self._prefer_distance(bias, frequency=1, back=1, sharpness=self._strengths.fade)
        self._prefer_distance(bias, frequency=2, back=1, sharpness=self._strengths.fade)
        weight[2 * self._size :] = self._read
        output.copy_(self._recent * self._strengths.carry * 2)  # an average is shorter than one token

    def _token_readers(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs (query, key): a token now against the previous token of a candidate, and so on one further back."""
        seen = [self._read, *(slot.T for slot in self._slots)]
        return list(pairwise(seen))

    def _set_copier(self, layer: int, head: int, readers: list[tuple[Tensor, Tensor]]) -> None:
        weight, _, output = self._head(layer, head)
        free = torch.arange(self._rotary, self._size)
        parts = free[torch.randperm(len(free), generator=self._random)].tensor_split(len(readers))
        for part, (query, key) in zip(parts, readers, strict=True):
            weight[part] = self._strengths.match * query[part]
            weight[self._size + part] = self._strengths.match * key[part]
        sent = self._directions(self._size)
        weight[2 * self._size :] = sent
        output.copy_(sent.T * self._strengths.copy / (1 if layer == 1 else 2))

    def _set_start_marker(self, head: int, place: int, sentence_ends: list[int]) -> None:
        """Attend to the nearest token that stands `place` after a sentence start and carry it along."""
        weight, bias, output = self._head(1, head)
        size, start = self._size, self._strengths.start
        free = slice(self._rotary, size)
        ends = self._embeddings[sentence_ends]
        ends = (ends / ends.norm(dim=-1, keepdim=True)).mean(0) * self._hidden**0.5
        weight[size + self._rotary : 2 * size] = start * self._slots[place].T[free]
        bias[free] = start * (self._read @ ends)[free]
        self._prefer_distance(bias, frequency=3, back=0, sharpness=6.0)
        self._prefer_distance(bias, frequency=4, back=0, sharpness=14.0)
        weight[2 * size :] = self._read
        output.copy_(self._marks[place] * self._strengths.carry)


@torch.no_grad()
def copying_accuracy(model: GPTNeoXForCausalLM, length: int = 100, rows: int = 8, seed: int = 0) -> float:
    """How often the model continues the second copy of a random token sequence rightly; chance is 1 / vocab."""
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(5, model.config.vocab_size - 8, (rows, length), generator=random)
    tokens = torch.cat([first, first], 1)
    predicted = model(input_ids=tokens).logits[:, length:-1].argmax(-1)
    return float((predicted == tokens[:, length + 1 :]).float().mean())
