"""Ways to attend over paged keys and values; which one is right depends on the device.

query is [tokens, heads, head_dim], keys and values are [num_slots, heads, head_dim]; results have a row for each of the
segments' tokens, in the query's dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from server.engine.model.step_layout import DecodeRows, Spans


def spans_by_sdpa(query: Tensor, keys: Tensor, values: Tensor, spans: Spans, scale: float) -> Tensor:
    """One call of torch's fused operator a segment: for every device and dtype."""
    queries = query.index_select(0, spans.rows).split(spans.num_queries)
    out = []
    for q, slots, mask in zip(queries, spans.slots.split(spans.num_visible), spans.masks, strict=True):
        k, v = (each.index_select(0, slots).transpose(0, 1)[None].to(q.dtype) for each in (keys, values))
        q = q.transpose(0, 1)[None]
        seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale)
        out.append(seen[0].transpose(0, 1))
    return torch.cat(out)


def spans_by_flash(query: Tensor, keys: Tensor, values: Tensor, spans: Spans, scale: float) -> Tensor:
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
    seen = varlen_attn(q, k, v, spans.query_starts, spans.visible_starts, *longest, scale=scale, window_size=(-1, 0))
    assert isinstance(seen, Tensor), type(seen)
    return seen.to(query.dtype)


def decode_by_products(query: Tensor, keys: Tensor, values: Tensor, decode: DecodeRows, scale: float) -> Tensor:
    """One query a sequence, in float32 by plain products.

    On a CPU several times as fast as the fused operator, which is made for many queries.
    """
    q, k, v, visible = _gathered(query, keys, values, decode)
    scores = torch.einsum("bhd,blhd->bhl", q.float(), k.float()) * scale
    weights = scores.masked_fill(~visible[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bhl,blhd->bhd", weights, v.float()).to(query.dtype)


def decode_by_sdpa(query: Tensor, keys: Tensor, values: Tensor, decode: DecodeRows, scale: float) -> Tensor:
    """The same without copies of keys and values in float32, which would be most of a GPU's workspace."""
    q, k, v, visible = _gathered(query, keys, values, decode)
    k, v = (each.transpose(1, 2).to(q.dtype) for each in (k, v))
    seen = scaled_dot_product_attention(q[:, :, None], k, v, attn_mask=visible[:, None, None], scale=scale)
    return seen[:, :, 0]


def _gathered(query: Tensor, keys: Tensor, values: Tensor, decode: DecodeRows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q [batch, heads, head_dim], k and v [batch, longest, heads, head_dim], what is visible [batch, longest]."""
    batch, longest = decode.slots.shape
    shape = (batch, longest, *keys.shape[1:])
    k, v = (each.index_select(0, decode.slots.reshape(-1)).view(shape) for each in (keys, values))
    visible = torch.arange(longest, device=query.device)[None] < decode.num_visible[:, None]
    return query.index_select(0, decode.rows), k, v, visible
