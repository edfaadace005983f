"""Attention backends: functions that attend over paged keys and values, and which of them a rank uses.

query is [tokens, heads, head_dim], keys and values are [num_slots, kv_heads, head_dim], and kv_heads divides heads:
query heads in equal groups share them. Results have a row for each of the segments' tokens, in the query's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from server.engine.model.kernel_proof import proven
from server.engine.model.rounded_rows import Rows
from server.engine.model.step_layout import DecodeRows, Spans
from server.engine.weights.head_geometry import HeadGeometry

# (query, keys, values, what each token sees, scale)
SpansAttention = Callable[[Tensor, Rows, Rows, Spans, float], Tensor]
DecodeAttention = Callable[[Tensor, Rows, Rows, DecodeRows, float], Tensor]

_FLASH_CAPABILITY = (8, 0)
_MAX_FLASH_HEAD = 256


def spans_by_sdpa(query: Tensor, keys: Rows, values: Rows, spans: Spans, scale: float) -> Tensor:
    """One call of torch's fused operator a segment: for every device and dtype."""
    queries = query.index_select(0, spans.rows).split(spans.num_queries)
    out = []
    for q, slots, mask in zip(queries, spans.slots.split(spans.num_visible), spans.masks, strict=True):
        k, v = (each.index_select(0, slots).transpose(0, 1)[None].to(q.dtype) for each in (keys, values))
        q = q.transpose(0, 1)[None]
        seen = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=_is_grouped(query, keys)
        )
        out.append(seen[0].transpose(0, 1))
    return torch.cat(out)


def spans_by_flash(query: Tensor, keys: Rows, values: Rows, spans: Spans, scale: float) -> Tensor:
    """All segments in one call of FlashAttention's variable-length operator (Dao 2023), which needs no masks.

    It aligns causality to the right, as chunks of a prompt and branches of a label tree want it. Its own paging knows
    only blocks of 256 tokens, so what is visible is gathered first: little beside the products of a prompt.
    """
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (
        each.index_select(0, at).to(keys.dtype)
        for each, at in ((query, spans.rows), (keys, spans.slots), (values, spans.slots))
    )
    longest = max(spans.num_queries), max(spans.num_visible)
    seen = varlen_attn(
        q, k, v, spans.query_starts, spans.visible_starts, *longest,
        scale=scale, window_size=(-1, 0), enable_gqa=_is_grouped(query, keys),
    )  # fmt: skip
    assert isinstance(seen, Tensor), type(seen)
    return seen.to(query.dtype)


def decode_by_products(query: Tensor, keys: Rows, values: Rows, decode: DecodeRows, scale: float) -> Tensor:
    """One query a sequence, in float32 by plain products.

    On a CPU several times as fast as the fused operator, which is made for many queries.
    """
    q, k, v, visible = _gathered(query, keys, values, decode=decode)
    grouped = q.float().unflatten(1, (keys.shape[1], -1))
    scores = torch.einsum("bkgd,blkd->bkgl", grouped, k.float()) * scale
    weights = scores.masked_fill(~visible[:, None, None], float("-inf")).softmax(-1)
    return torch.einsum("bkgl,blkd->bkgd", weights, v.float()).flatten(1, 2).to(query.dtype)


def decode_by_sdpa(query: Tensor, keys: Rows, values: Rows, decode: DecodeRows, scale: float) -> Tensor:
    """The same without copies of keys and values in float32, which would be most of a GPU's workspace."""
    q, k, v, visible = _gathered(query, keys, values, decode=decode)
    k, v = (each.transpose(1, 2).to(q.dtype) for each in (k, v))
    seen = scaled_dot_product_attention(
        q[:, :, None], k, v, attn_mask=visible[:, None, None], scale=scale, enable_gqa=_is_grouped(query, keys)
    )
    return seen[:, :, 0]


def _is_grouped(query: Tensor, keys: Rows) -> bool:
    return query.shape[1] != keys.shape[1]


def _gathered(query: Tensor, keys: Rows, values: Rows, decode: DecodeRows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q [batch, heads, head_dim], k and v [batch, longest, kv_heads, head_dim], what is visible [batch, longest]."""
    batch, longest = decode.slots.shape
    shape = (batch, longest, *keys.shape[1:])
    k, v = (each.index_select(0, decode.slots.reshape(-1)).view(shape) for each in (keys, values))
    visible = torch.arange(longest, device=query.device)[None] < decode.num_visible[:, None]
    return query.index_select(0, decode.rows), k, v, visible


@dataclass(frozen=True)
class AttentionBackend:
    """How segments of several tokens attend, and how single tokens do.

    `decodes_in_place`: single tokens read what they see where it lies, and nothing else.
    """

    spans: SpansAttention = spans_by_sdpa
    decode: DecodeAttention = decode_by_products
    decodes_in_place: bool = False


def choose_backend(
    heads: HeadGeometry, dtype: torch.dtype, device: torch.device, *, own_kernels: bool
) -> AttentionBackend:
    """The quickest that work there; without `own_kernels` torch's alone."""
    if device.type == "cpu":
        return AttentionBackend()
    sample = _Sample(heads, dtype, device)
    decode = _kernel_or_sdpa(sample) if own_kernels else decode_by_sdpa
    return AttentionBackend(
        spans_by_flash if _has_flash(heads.head_dim, dtype, device) and sample.proves_flash() else spans_by_sdpa,
        decode,
        decodes_in_place=decode is not decode_by_sdpa,
    )


def _has_flash(head_dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    fits = dtype in (torch.float16, torch.bfloat16) and head_dim % 8 == 0 and head_dim <= _MAX_FLASH_HEAD
    return fits and torch.cuda.get_device_capability(device) >= _FLASH_CAPABILITY


def _kernel_or_sdpa(sample: _Sample) -> DecodeAttention:
    try:
        from server.engine.model.triton_decode import decode_by_kernel
    except ImportError:  # a build of torch without Triton
        return decode_by_sdpa
    return decode_by_kernel if sample.proves_decode(decode_by_kernel) else decode_by_sdpa


class _Sample:
    """Random keys, values and queries: two chunks behind other tokens, and three sequences of one token."""

    _NUM_SLOTS = 640

    def __init__(self, heads: HeadGeometry, dtype: torch.dtype, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)

        def normal(rows: int, num_heads: int) -> Tensor:
            return torch.randn(rows, num_heads, heads.head_dim, generator=generator).to(device, dtype)

        self._keys, self._values = normal(self._NUM_SLOTS, heads.kv_heads), normal(self._NUM_SLOTS, heads.kv_heads)
        self._query = normal(64, heads.heads)
        self._scale = heads.scale
        self._slots = torch.randperm(self._NUM_SLOTS, generator=generator).to(device)

    def proves_flash(self) -> bool:
        """Whether FlashAttention gives what torch's fused operator gives."""
        device = self._slots.device
        starts = torch.tensor([[0, 40, 57], [0, 100, 117]], dtype=torch.int32, device=device)
        spans = Spans(
            torch.arange(57, device=device),
            self._slots[:117],
            starts[0],
            visible_starts=starts[1],
            num_queries=(40, 17),
            num_visible=(100, 17),
        )
        return proven(spans_by_flash, spans_by_sdpa, self._query, self._keys, self._values, spans, self._scale)

    def proves_decode(self, kernel: DecodeAttention) -> bool:
        """Whether `kernel` gives what torch's fused operator gives."""
        device = self._slots.device
        slots = torch.stack((self._slots[:600], self._slots[-600:], self._slots[20:620]))
        decode = DecodeRows(torch.arange(3, device=device), slots, torch.tensor([1, 256, 600], device=device))
        return proven(kernel, decode_by_sdpa, self._query, self._keys, self._values, decode, self._scale)
