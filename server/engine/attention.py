"""Attention over the paged keys and values, hung into the models from outside.

GPT-NeoX and most others ask transformers' attention registry; GPT-J does not and gets its method replaced instead.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from server.engine.reduce import AllReduce
from server.engine.step_layout import DecodeRows, Span, StepLayout

REGISTERED_NAME = "paged"


class PagedAttention:
    """Keys and values of one layer, and attention over them for the step that `layout` describes.

    Attributes:
        keys, values: [num_slots, heads, head_dim], this rank's heads.
        layout: set by the runner before every forward pass.
    """

    def __init__(self, num_slots: int, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        # Written at once, so that the memory is taken now and not in the middle of some request.
        self.keys = torch.empty(num_slots, heads, head_dim, dtype=dtype, device=device).zero_()
        self.values = torch.empty_like(self.keys).zero_()
        self.scale = head_dim**-0.5
        self.layout: StepLayout | None = None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store the step's keys and values, then attend.

        All are [1, heads, tokens, head_dim]; the result is [1, tokens, heads, head_dim].
        """
        layout = self.layout
        assert layout is not None, "the runner sets the layout before a forward pass"
        query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
        self.keys.index_copy_(0, layout.write_slots, key.to(self.keys.dtype))
        self.values.index_copy_(0, layout.write_slots, value.to(self.values.dtype))
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        for span in layout.spans:
            out[span.start : span.stop] = self._attend_span(query, span)
        if layout.decode is not None:
            out.index_copy_(0, layout.decode.rows, self._attend_decode(query, layout.decode))
        return out[None]

    def _attend_span(self, query: Tensor, span: Span) -> Tensor:
        num_queries, num_visible = span.stop - span.start, span.slots.numel()
        q = query[span.start : span.stop].transpose(0, 1)
        k = self.keys.index_select(0, span.slots).transpose(0, 1).to(q.dtype)
        v = self.values.index_select(0, span.slots).transpose(0, 1).to(q.dtype)
        if num_queries == num_visible:
            out = scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, scale=self.scale)
        else:
            mask = torch.ones(num_queries, num_visible, dtype=torch.bool, device=q.device)
            mask = mask.tril(num_visible - num_queries)
            out = scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=self.scale)
        return out[0].transpose(0, 1)

    def _attend_decode(self, query: Tensor, decode: DecodeRows) -> Tensor:
        batch, longest = decode.slots.shape
        q = query.index_select(0, decode.rows)  # [batch, heads, head_dim]
        shape = (batch, longest, *self.keys.shape[1:])
        k = self.keys.index_select(0, decode.slots.reshape(-1)).view(shape)
        v = self.values.index_select(0, decode.slots.reshape(-1)).view(shape)
        visible = torch.arange(longest, device=q.device)[None] < decode.num_visible[:, None]
        attend = attend_fused if q.device.type == "cuda" else attend_by_products
        return attend(q, k, v, visible, self.scale).to(query.dtype)


def attend_by_products(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float) -> Tensor:
    """One query a sequence, q [batch, heads, head_dim] over k and v [batch, longest, heads, head_dim], in float32.

    On a CPU several times as fast as the fused operator, which is made for many queries.
    """
    scores = torch.einsum("bhd,blhd->bhl", q.float(), k.float()) * scale
    weights = scores.masked_fill(~visible[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bhl,blhd->bhd", weights, v.float())


def attend_fused(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float) -> Tensor:
    """The same without copies of k and v in float32, which would be most of a GPU's workspace."""
    mask = visible[:, None, None]  # [batch, 1, 1, longest]
    out = scaled_dot_product_attention(
        q[:, :, None], k.transpose(1, 2).to(q.dtype), v.transpose(1, 2).to(q.dtype), attn_mask=mask, scale=scale
    )
    return out[:, :, 0]


def hang_in(model: PreTrainedModel, num_slots: int, dtype: torch.dtype, device: torch.device) -> list[PagedAttention]:
    """Give every attention layer of `model` paged keys and values; the layers in order."""
    # AutoTP leaves the configuration global; the loader refuses heads that do not divide over the ranks.
    heads = model.config.num_attention_heads // AllReduce().world
    head_dim = model.config.hidden_size // model.config.num_attention_heads
    layers = []
    attentions: list[Any] = [module for module in model.modules() if _is_attention(module)]
    for module in attentions:
        paged = PagedAttention(num_slots, heads, head_dim, dtype, device)
        module.paged = paged
        if hasattr(module, "_attn"):
            module._attn = types.MethodType(_gptj_attention, module)
        layers.append(paged)
    ALL_ATTENTION_FUNCTIONS.register(REGISTERED_NAME, _registered_attention)
    model.config._attn_implementation = REGISTERED_NAME
    return layers


def _is_attention(module: nn.Module) -> bool:
    return hasattr(module, "layer_idx") and hasattr(module, "is_causal")


def _registered_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **_: Any
) -> tuple[Tensor, None]:
    return module.paged(query, key, value), None


def _gptj_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    # GPT-J merges heads itself and expects [1, heads, tokens, head_dim] back.
    return module.paged(query, key, value).transpose(1, 2), None
