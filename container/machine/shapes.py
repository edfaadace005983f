"""The shapes of GPT-NeoX and GPT-J checkpoints, from their configs alone, and what a rank's share of one weighs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.refusal import Refusal
from server.dtypes import DTYPES, WeightKind, bytes_of


@dataclass(frozen=True)
class Shape:
    """What decides the memory of a checkpoint."""

    name: str
    model_type: str  # gpt_neox or gptj
    layers: int
    hidden: int
    heads: int
    inner: int  # width of the feed-forward part
    vocab: int
    window: int  # positions

    def share(self, world: int, dtype: str) -> Share:
        """One rank's part under AutoTP."""
        matrices = self._matrix_values() // world + self.vocab * self.hidden // world
        vectors = self._split_biases() // world + self._whole_vectors()
        value, kind = DTYPES[dtype].compute_bytes, DTYPES[dtype].kind
        weights = bytes_of(kind, matrices, value) + vectors * value
        if kind is not WeightKind.PLAIN:  # one float32 scale for each row of each matrix
            weights += 4 * (self.layers * (4 * self.hidden + self.inner + self.hidden) + self.vocab) // world
        return Share(weights, self.vocab * self.hidden * value, 2 * self.layers * self.hidden // world * value)

    def _matrix_values(self) -> int:
        # Both: query, key, value and output of attention, and the two of the feed-forward part; all are split.
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.inner)

    def _split_biases(self) -> int:
        attention = 3 * self.hidden if self.model_type == "gpt_neox" else 0
        return self.layers * (attention + self.inner)

    def _whole_vectors(self) -> int:
        # Norms, the biases that are added after a sum over the ranks, and GPT-J's bias of the head.
        neox = self.model_type == "gpt_neox"
        return self.layers * self.hidden * (6 if neox else 3) + 2 * self.hidden + (0 if neox else self.vocab)


@dataclass(frozen=True)
class Share:
    """Bytes on one rank."""

    split_weights: int  # all but the embedding
    embedding: int  # whole on every rank
    kv_per_token: int

    @property
    def weights(self) -> int:
        """All weights of the rank."""
        return self.split_weights + self.embedding


_NEOX_20B = {"model_type": "gpt_neox", "num_hidden_layers": 44, "hidden_size": 6144, "num_attention_heads": 64}
_GPTJ_6B = {"model_type": "gptj", "n_layer": 28, "n_embd": 4096, "n_head": 16, "n_positions": 2048, "vocab_size": 50400}
_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "togethercomputer/GPT-NeoXT-Chat-Base-20B": {**_NEOX_20B, "vocab_size": 50432, "intermediate_size": 24576},
    "EleutherAI/gpt-neox-20b": {**_NEOX_20B, "vocab_size": 50432, "intermediate_size": 24576},
    "togethercomputer/GPT-JT-Moderation-6B": _GPTJ_6B,
    "togethercomputer/GPT-JT-6B-v1": _GPTJ_6B,
    "EleutherAI/gpt-j-6b": _GPTJ_6B,
}
CHAT_20B = "togethercomputer/GPT-NeoXT-Chat-Base-20B"
MODERATION_6B = "togethercomputer/GPT-JT-Moderation-6B"


def read_shape(setting: str, source: str) -> Shape:
    """The shape of `source`: a checkpoint folder, or one of the models known by their hub id.

    Raises:
        Refusal: no such folder and no known id, or a config that is not of GPT-NeoX or GPT-J.
    """
    model_id = source.partition("@")[0]
    if model_id in _KNOWN:
        return shape_of(setting, source, _KNOWN[model_id])
    path = Path(source) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        known = ", ".join(_KNOWN)
        raise Refusal(
            f"{setting}={source}: {path} cannot be read ({error}); known without a folder: {known}"
        ) from error
    return shape_of(setting, source, config)


def find_shape(folder: str) -> Shape | None:
    """The shape of a checkpoint folder; None when it is of another architecture."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    return shape_of("config", folder, config) if config.get("model_type") in _READERS else None


def shape_of(setting: str, source: str, config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json describes. Raises Refusal for another architecture or a missing field."""
    kind = str(config.get("model_type"))
    if kind not in _READERS:
        raise Refusal(f"{setting}={source}: model_type {kind!r} cannot be planned; legal are {', '.join(_READERS)}")
    try:
        return _READERS[kind](source, config)
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(f"{setting}={source}: config.json lacks a usable {error}") from error


def _neox(source: str, config: Mapping[str, Any]) -> Shape:
    hidden = int(config["hidden_size"])
    sizes = [int(config[name]) for name in ("num_hidden_layers", "num_attention_heads", "vocab_size")]
    inner = int(config.get("intermediate_size") or 4 * hidden)
    window = int(config.get("max_position_embeddings") or 2048)
    return Shape(source, "gpt_neox", sizes[0], hidden, sizes[1], inner, sizes[2], window)


def _gptj(source: str, config: Mapping[str, Any]) -> Shape:
    hidden = int(config["n_embd"])
    sizes = [int(config[name]) for name in ("n_layer", "n_head", "vocab_size")]
    inner = int(config.get("n_inner") or 4 * hidden)
    return Shape(source, "gptj", sizes[0], hidden, sizes[1], inner, sizes[2], int(config.get("n_positions") or 2048))


_READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Shape]] = {"gpt_neox": _neox, "gptj": _gptj}
