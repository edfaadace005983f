"""The shapes of checkpoints, from their configs alone, and what a rank's share of one weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.refusal import Refusal
from server.artifacts.json_object import read_json_object
from server.dtypes import DTYPES, KV_KINDS, WeightKind, bytes_of, head_kind
from server.engine.model.kv_budget import KvShape
from server.engine.weights.family import FAMILIES, Family, family_of, window_of
from server.engine.weights.head_geometry import HeadGeometry

_GRAIN = 64  # DeepSpeed's tp_grain_size


@dataclass(frozen=True)
class Shape:
    """What decides the memory of a checkpoint."""

    name: str
    family: Family
    config: Mapping[str, Any]
    layers: int
    hidden: int
    heads: HeadGeometry
    inner: int  # width of the feed-forward part
    vocab: int
    window: int  # positions

    def share(self, world: int, dtype: str, kv_dtype: str = "auto") -> Share:
        """The largest part under AutoTP: that of rank 0."""
        heads = self.heads.share(0, world)
        inner, head_inputs = _largest_part(self.inner, world), _largest_part(self.hidden, world)
        vectors = self.layers * self._layer_vectors(heads, inner) + self._norm_values()
        vectors += self.vocab * self.family.head_bias
        value, kind = DTYPES[dtype].compute_bytes, DTYPES[dtype].kind
        weights = bytes_of(kind, self.layers * self._layer_values(heads, inner), value) + vectors * value
        weights += bytes_of(head_kind(kind), self.vocab * head_inputs, value)
        if kind is not WeightKind.PLAIN:  # one float32 scale for each row of each matrix
            weights += 4 * (self.layers * self._layer_rows(heads, inner) + self.vocab)
        return Share(weights, self.vocab * self.hidden * value, self.kv_shape(world, dtype, kv_dtype).bytes_per_token)

    def kv_shape(self, world: int, dtype: str, kv_dtype: str) -> KvShape:
        """What a token's keys and values cost rank 0."""
        return KvShape(self.layers, self.heads.share(0, world), DTYPES[dtype].compute_bytes, kind=KV_KINDS[kv_dtype])

    def _layer_values(self, heads: HeadGeometry, inner: int) -> int:
        return self.hidden * (_attention_width(heads) + heads.heads * heads.head_dim + self._num_inner * inner)

    def _layer_rows(self, heads: HeadGeometry, inner: int) -> int:
        return _attention_width(heads) + (self._num_inner - 1) * inner + 2 * self.hidden

    @property
    def _num_inner(self) -> int:
        """Matrices of the feed-forward part."""
        return 2 if self.family.gate is None else 3

    def _layer_vectors(self, heads: HeadGeometry, inner: int) -> int:
        """Biases, and norms; the biases behind a sum over the ranks are whole on each."""
        family, num_norms = self.family, 1 if self.family.second_norm is None else 2
        values = num_norms * self._norm_values()
        values += _attention_width(heads) * family.is_set(family.query_key_value_bias, self.config)
        values += self.hidden * family.is_set(family.dense_bias, self.config)
        return values + ((self._num_inner - 1) * inner + self.hidden) * family.is_set(family.mlp_bias, self.config)

    def _norm_values(self) -> int:
        return self.hidden * (1 + self.family.norm_bias)


def _largest_part(size: int, world: int) -> int:
    """What AutoTP gives a rank at most of what does not follow the heads: grains of 64, the tail to the last one."""
    grains, tail = divmod(size, _GRAIN)
    if grains == 0:
        return -(-size // world)
    return max(-(-grains // world) * _GRAIN, grains // world * _GRAIN + tail)


def _attention_width(heads: HeadGeometry) -> int:
    """Rows of query, key and value."""
    return (heads.heads + 2 * heads.kv_heads) * heads.head_dim


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
        Refusal: no such folder and no known id, or a config of no family that is known.
    """
    model_id = source.partition("@")[0]
    if model_id in _KNOWN:
        return shape_of(setting, source, _KNOWN[model_id])
    path = Path(source) / "config.json"
    try:
        config = read_json_object(path)
    except (OSError, ValueError) as error:
        known = ", ".join(_KNOWN)
        raise Refusal(
            f"{setting}={source}: {path} cannot be read ({error}); known without a folder: {known}"
        ) from error
    return shape_of(setting, source, config)


def find_shape(folder: str) -> Shape | None:
    """The shape of a checkpoint folder; None when it is of another architecture."""
    config = read_json_object(Path(folder) / "config.json")
    return None if family_of(config) is None else shape_of("config", folder, config)


def shape_of(setting: str, source: str, config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json describes. Raises Refusal for another architecture or a missing field."""
    family = family_of(config)
    if family is None:
        kind, legal = config.get("model_type"), ", ".join(FAMILIES)
        raise Refusal(f"{setting}={source}: model_type {kind!r} cannot be planned; legal are {legal}")
    try:
        return _read(source, family, config)
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(f"{setting}={source}: config.json lacks a usable {error}") from error


def _read(source: str, family: Family, config: Mapping[str, Any]) -> Shape:
    return Shape(
        name=source,
        family=family,
        config=config,
        layers=int(config[family.depth]),
        hidden=int(config[family.width]),
        heads=HeadGeometry.of(config),
        inner=int(config.get(family.inner) or 4 * int(config[family.width])),
        vocab=int(config["vocab_size"]),
        window=window_of(config),
    )
