"""One query a sequence over paged keys and values, in Triton: nothing is gathered, every key is read once.

The method is FlashDecoding's (Dao, Haziza, Massa, Sizov 2023): every program attends over a fixed run of a sequence's
entries, a second kernel merges the runs by their softmax sums. The runs begin at fixed places, so a sequence's result
does not depend on what else is in the batch.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from server.engine.model.rounded_rows import RoundedRows, Rows
from server.engine.model.step_layout import DecodeRows

RUN = 256  # entries a program; one that begins past a sequence's end does nothing
TILE = 32  # entries at once


# Where a step's numbers begin in memory differs from step to step.
@triton.jit(do_not_specialize=["longest", "num_runs"], do_not_specialize_on_alignment=["slots", "num_visible"])
def attend_runs(
    query, keys, values, key_scales, value_scales, slots, num_visible, seen, peaks, sums, scale, longest, heads,
    kv_heads, num_runs,
    head_dim: tl.constexpr, head_tile: tl.constexpr, run: tl.constexpr, tile: tl.constexpr, rounded: tl.constexpr,
):  # fmt: skip
    """Program (row, head, run): the run's values weighted by exp(score - peak) into `seen`, its peak and its sum."""
    row, head, index = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    kv_head = head // (heads // kv_heads)  # groups of query heads share one
    first = index * run
    last = tl.minimum(tl.load(num_visible + row).to(tl.int32), first + run)
    at_dim = tl.arange(0, head_tile)
    in_head = at_dim < head_dim
    q = tl.load(query + (row * heads + head) * head_dim + at_dim, mask=in_head, other=0.0).to(tl.float32) * scale
    peak, total = float("-inf"), 0.0
    weighted = tl.zeros((head_tile,), tl.float32)
    for start in range(first, last, tile):
        entry = start + tl.arange(0, tile)
        inside = entry < last
        slot = tl.load(slots + row * longest + entry, mask=inside, other=0)
        at_head = slot * kv_heads + kv_head
        at = at_head[:, None] * head_dim + at_dim[None, :]
        there = inside[:, None] & in_head[None, :]
        k = tl.load(keys + at, mask=there, other=0).to(tl.float32)
        if rounded:
            k *= tl.load(key_scales + at_head, mask=inside, other=0.0).to(tl.float32)[:, None]
        scores = tl.where(inside, tl.sum(k * q[None, :], 1), float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 0))
        weights = tl.exp(scores - new_peak)
        v = tl.load(values + at, mask=there, other=0).to(tl.float32)
        if rounded:
            v *= tl.load(value_scales + at_head, mask=inside, other=0.0).to(tl.float32)[:, None]
        kept = tl.exp(peak - new_peak)
        weighted = weighted * kept + tl.sum(weights[:, None] * v, 0)
        total = total * kept + tl.sum(weights, 0)
        peak = new_peak
    place = (row * heads + head) * num_runs + index
    tl.store(seen + place * head_dim + at_dim, weighted, mask=in_head)
    tl.store(peaks + place, peak)
    tl.store(sums + place, total)


@triton.jit(do_not_specialize=["num_runs"], do_not_specialize_on_alignment=["num_visible"])
def merge_runs(
    seen, peaks, sums, num_visible, out, heads, num_runs,
    head_dim: tl.constexpr, head_tile: tl.constexpr, run: tl.constexpr,
):  # fmt: skip
    """Program (row, head): the runs that hold anything, merged into `out`."""
    row, head = tl.program_id(0), tl.program_id(1)
    at_dim = tl.arange(0, head_tile)
    in_head = at_dim < head_dim
    peak, total = float("-inf"), 0.0
    weighted = tl.zeros((head_tile,), tl.float32)
    for index in range(tl.cdiv(tl.load(num_visible + row).to(tl.int32), run)):
        place = (row * heads + head) * num_runs + index
        run_peak = tl.load(peaks + place)
        new_peak = tl.maximum(peak, run_peak)
        kept, added = tl.exp(peak - new_peak), tl.exp(run_peak - new_peak)
        part = tl.load(seen + place * head_dim + at_dim, mask=in_head, other=0.0)
        weighted = weighted * kept + part * added
        total = total * kept + tl.load(sums + place) * added
        peak = new_peak
    tl.store(out + (row * heads + head) * head_dim + at_dim, weighted / total, mask=in_head)


def decode_by_kernel(query: Tensor, keys: Rows, values: Rows, decode: DecodeRows, scale: float) -> Tensor:
    """As `attention_backends.decode_by_sdpa`; keys and values must be contiguous."""
    (batch, longest), (_, kv_heads, head_dim), heads = decode.slots.shape, keys.shape, query.shape[1]
    num_runs = triton.cdiv(longest, RUN)
    q = query.index_select(0, decode.rows)
    seen = torch.empty(batch, heads, num_runs, head_dim, dtype=torch.float32, device=q.device)
    peaks, sums = torch.empty(2, batch, heads, num_runs, dtype=torch.float32, device=q.device)
    out = torch.empty_like(q)
    head_tile = triton.next_power_of_2(head_dim)
    attend_runs[batch, heads, num_runs](
        q, *_parts(keys, values), decode.slots, decode.num_visible, seen, peaks, sums, scale, longest, heads, kv_heads,
        num_runs, head_dim=head_dim, head_tile=head_tile, run=RUN, tile=TILE, rounded=isinstance(keys, RoundedRows),
    )  # fmt: skip
    merge_runs[batch, heads](
        seen, peaks, sums, decode.num_visible, out, heads, num_runs,
        head_dim=head_dim, head_tile=head_tile, run=RUN,
    )  # fmt: skip
    return out


def _parts(keys: Rows, values: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keys and values, and what each is multiplied by; the latter are not looked at where nothing is rounded."""
    if isinstance(keys, RoundedRows):
        assert isinstance(values, RoundedRows), type(values)
        return keys.bytes, values.bytes, keys.scales, values.scales
    assert isinstance(values, Tensor), type(values)
    return keys, values, keys, values
