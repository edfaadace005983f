"""Attention over the paged keys and values, hung into the models from outside.

GPT-NeoX and most others ask transformers' attention registry; GPT-J does not and gets its method replaced instead.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from server.engine.model.attention_backends import AttentionBackend
from server.engine.model.step_layout import StepLayout
from server.engine.parallel.all_reduce import AllReduce

REGISTERED_NAME = "paged"


class PagedAttention:
    """Keys and values of one layer, and attention over them for the step that `layout` describes.

    Attributes:
        keys, values: [num_slots, heads, head_dim], this rank's heads.
        layout: set by the runner before every forward pass.
    """

    def __init__(
        self,
        num_slots: int,
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        backend: AttentionBackend,
    ) -> None:
        # Written at once, so that the memory is taken now and not in the middle of some request.
        self.keys = torch.empty(num_slots, heads, head_dim, dtype=dtype, device=device).zero_()
        self.values = torch.empty_like(self.keys).zero_()
        self.scale = head_dim**-0.5
        self._backend = backend
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
        for spans in layout.spans:
            seen = self._backend.spans(query, self.keys, self.values, spans, self.scale)
            out.index_copy_(0, spans.rows, seen)
        if layout.decode is not None:
            seen = self._backend.decode(query, self.keys, self.values, layout.decode, self.scale)
            out.index_copy_(0, layout.decode.rows, seen)
        return out[None]


def head_shape(model: PreTrainedModel) -> tuple[int, int]:
    """This rank's heads, and the dimensions of each."""
    # AutoTP leaves the configuration global; the loader refuses heads that do not divide over the ranks.
    config = model.config
    return config.num_attention_heads // AllReduce().world, config.hidden_size // config.num_attention_heads


def hang_in(
    model: PreTrainedModel, num_slots: int, dtype: torch.dtype, device: torch.device, backend: AttentionBackend
) -> list[PagedAttention]:
    """Give every attention layer of `model` paged keys and values; the layers in order."""
    heads, head_dim = head_shape(model)
    layers = []
    attentions: list[Any] = [module for module in model.modules() if _is_attention(module)]
    for module in attentions:
        paged = PagedAttention(num_slots, heads, head_dim, dtype, device, backend)
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
