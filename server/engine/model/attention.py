"""Attention over the paged keys and values, hung into the models from outside.

GPT-NeoX, LLaMA and most others ask transformers' attention registry; GPT-J does not and gets its method replaced
instead.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from server.engine.model.attention_backends import AttentionBackend
from server.engine.model.rounded_rows import Rows
from server.engine.model.step_layout import StepLayout
from server.engine.weights.family import family_of, window_of
from server.engine.weights.head_geometry import HeadGeometry
from server.engine.weights.sources import WeightsError

REGISTERED_NAME = "paged"
# What modules pass beside query, key and value and what changes nothing here: no training, the step's own positions.
_HARMLESS = {"dropout", "position_ids", "use_cache", "output_attentions", "cache_position"}


class PagedAttention:
    """Keys and values of one layer, and attention over them for the step that `layout` describes.

    Attributes:
        keys, values: [num_slots, kv_heads, head_dim], this rank's heads.
        layout: set by the runner before every forward pass.
    """

    def __init__(self, heads: HeadGeometry, backend: AttentionBackend, rows: Callable[[], Rows]) -> None:
        self.keys, self.values = rows(), rows()
        self.scale = heads.scale
        self._backend = backend
        self.layout: StepLayout | None = None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
        """Store the step's keys and values, then attend; `scale` where the module has one of its own.

        query is [1, heads, tokens, head_dim], key and value [1, kv_heads, tokens, head_dim]; the result is
        [1, tokens, heads, head_dim].
        """
        layout, scale = self.layout, self.scale if scale is None else scale
        assert layout is not None, "the runner sets the layout before a forward pass"
        query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
        self.keys.index_copy_(0, layout.write_slots, key.to(self.keys.dtype))
        self.values.index_copy_(0, layout.write_slots, value.to(self.values.dtype))
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        for spans in layout.spans:
            seen = self._backend.spans(query, self.keys, self.values, spans, scale)
            out.index_copy_(0, spans.rows, seen)
        if layout.decode is not None:
            seen = self._backend.decode(query, self.keys, self.values, layout.decode, scale)
            out.index_copy_(0, layout.decode.rows, seen)
        return out[None]


def hang_in(
    model: PreTrainedModel, heads: HeadGeometry, backend: AttentionBackend, rows: Callable[[], Rows]
) -> list[PagedAttention]:
    """Give every attention layer of `model` paged keys and values of this rank's `heads`; the layers in order.

    `rows` makes room for the keys, or the values, of a layer.

    Raises:
        WeightsError: not every layer has an attention that can be replaced.
    """
    attentions: list[Any] = [module for module in model.modules() if _is_attention(module)]
    wanted = model.config.num_hidden_layers
    if len(attentions) != wanted:
        raise WeightsError(
            f"model_type {model.config.model_type!r}: {len(attentions)} of its {wanted} layers have an attention that "
            "keys and values in blocks can be hung into; this family cannot be served"
        )
    family = family_of(model.config)
    layers = []
    for module in attentions:
        module.paged = PagedAttention(heads, backend, rows)
        if family is not None and family.attend is not None:
            setattr(module, family.attend, types.MethodType(_own_attention, module))
        layers.append(module.paged)
    ALL_ATTENTION_FUNCTIONS.register(REGISTERED_NAME, _registered_attention)
    model.config._attn_implementation = REGISTERED_NAME
    return layers


def _is_attention(module: nn.Module) -> bool:
    return hasattr(module, "layer_idx") and hasattr(module, "is_causal")


def _registered_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    _refuse_unknown(module, others)
    return module.paged(query, key, value, scaling), None


def _refuse_unknown(module: Any, others: dict[str, Any]) -> None:
    """Raises WeightsError for what would change the result and is not computed here."""
    for name, value in others.items():
        if value is None or name in _HARMLESS or (name == "is_causal" and value):
            continue
        if name == "sliding_window" and value >= window_of(module.config):
            continue
        raise WeightsError(
            f"model_type {module.config.model_type!r}: its attention asks for {name}={value}, which attention over "
            "blocks does not know; this family cannot be served"
        )


def _own_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    # As GPT-J's: it merges heads itself and expects [1, heads, tokens, head_dim] back.
    return module.paged(query, key, value).transpose(1, 2), None
