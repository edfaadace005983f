"""The attention heads of a model and of a rank's share of it. No torch: `plan` uses the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# What families call their fields, the usual name first; DeepSpeed's AutoTP looks for key-value heads by the same names.
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model")


@dataclass(frozen=True)
class HeadGeometry:
    """Query heads that share key-value heads in equal groups: grouped-query attention (Ainslie et al. 2023).

    Every family with one key-value head a query head has groups of one. `scale` multiplies the scores.
    """

    heads: int
    kv_heads: int
    head_dim: int
    scale: float

    @property
    def group(self) -> int:
        """Query heads that read one key-value head."""
        return self.heads // self.kv_heads

    @classmethod
    def of(cls, config: Any) -> HeadGeometry:
        """The whole model's, from config.json as a mapping or from transformers' object of it.

        Raises:
            ValueError: a field is missing or the query heads do not divide by the key-value heads; names the field.
        """
        heads, hidden = _field(config, _HEADS), _field(config, _HIDDEN)
        kv_heads = _optional(config, _KV_HEADS) or heads
        head_dim = _optional(config, ("head_dim",)) or hidden // heads
        if heads % kv_heads:
            raise ValueError(f"{_HEADS[0]}={heads} does not divide by {_KV_HEADS[0]}={kv_heads}")
        return cls(heads, kv_heads, head_dim, scale=head_dim**-0.5)

    def fault(self, world: int) -> str | None:
        """Why `world` ranks cannot share the heads; None when each of them gets one or more."""
        if self.kv_heads >= world:
            return None
        kind = "attention" if self.group == 1 else "key-value"
        return f"{self.kv_heads} {kind} heads do not reach for {world} ranks"

    def share(self, rank: int, world: int) -> HeadGeometry:
        """What AutoTP gives `rank`: whole groups, the first ranks one more where they do not divide evenly."""
        kv_heads = self.kv_heads // world + (rank < self.kv_heads % world)
        return replace(self, heads=kv_heads * self.group, kv_heads=kv_heads)


def _field(config: Any, names: tuple[str, ...]) -> int:
    value = _optional(config, names)
    if value is None or value < 1:
        raise ValueError(f"{names[0]}")
    return value


def _optional(config: Any, names: tuple[str, ...]) -> int | None:
    values = (config.get(each) if isinstance(config, Mapping) else getattr(config, each, None) for each in names)
    return next((int(value) for value in values if value is not None), None)
