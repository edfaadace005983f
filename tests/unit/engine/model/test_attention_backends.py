"""The attention backends are one function."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from server.engine.model import attention_backends
from server.engine.model.step_layout import DecodeRows, lay_out
from tests.unit.engine.tiny_models import BLOCK_TOKENS, prompt_of, rest, step_of, whole

KV_HEADS, HEAD_DIM, NUM_SLOTS = 3, 24, 2000
SCALE = HEAD_DIM**-0.5


@pytest.fixture
def stored() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(NUM_SLOTS, KV_HEADS, HEAD_DIM), torch.randn(NUM_SLOTS, KV_HEADS, HEAD_DIM)


@pytest.fixture(params=[3, 6], ids=["a-head-each", "heads-in-groups"])
def heads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def alone(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Queries [n, heads, head_dim], the last of the keys their own, one at a time; groups of heads share keys."""
    k, v = (each.repeat_interleave(q.shape[1] // each.shape[1], 1) for each in (k, v))
    seen = []
    for index in range(len(q)):
        last = len(k) - len(q) + index + 1
        weights = (torch.einsum("hd,nhd->hn", q[index], k[:last]) * SCALE).softmax(-1)
        seen.append(torch.einsum("hn,nhd->hd", weights, v[:last]))
    return torch.stack(seen)


def test_one_token_of_every_sequence_sees_what_is_visible(
    stored: tuple[torch.Tensor, torch.Tensor], heads: int
) -> None:
    keys, values = stored
    slots = torch.stack([torch.randperm(NUM_SLOTS)[:50] for _ in range(3)])
    decode = DecodeRows(torch.tensor([2, 0, 1]), slots, torch.tensor([1, 17, 50]))
    query = torch.randn(3, heads, HEAD_DIM)
    expected = [
        alone(query[row][None], keys[slots[index, :count]], values[slots[index, :count]])[0]
        for index, (row, count) in enumerate(((2, 1), (0, 17), (1, 50)))
    ]
    for decode_attention in (attention_backends.decode_by_products, attention_backends.decode_by_sdpa):
        torch.testing.assert_close(decode_attention(query, keys, values, decode, SCALE), torch.stack(expected))


def varlen_by_definition(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    query_starts: torch.Tensor,
    visible_starts: torch.Tensor,
    longest_query: int,
    longest_visible: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What torch documents of `varlen_attn`, which has no CPU form."""
    assert window_size == (-1, 0), "causal"
    assert scale == SCALE
    assert enable_gqa == (q.shape[1] != k.shape[1])
    assert query_starts.dtype == visible_starts.dtype == torch.int32
    queries, visible = query_starts.diff().tolist(), visible_starts.diff().tolist()
    assert (max(queries), max(visible)) == (longest_query, longest_visible)
    parts = zip(q.split(queries), k.split(visible), v.split(visible), strict=True)
    return torch.cat([alone(*part) for part in parts])


def test_segments_of_several_tokens_see_causally_from_the_right(
    stored: tuple[torch.Tensor, torch.Tensor], heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, values = stored
    step = step_of(
        whole(0, prompt_of(12)), rest(1, prompt_of(9), 8), rest(2, prompt_of(40), 30), whole(3, prompt_of(2))
    )
    [spans] = lay_out(step, BLOCK_TOKENS, torch.device("cpu")).spans
    query = torch.randn(12 + 1 + 10 + 2, heads, HEAD_DIM)
    expected = torch.cat(
        [
            alone(query[at], keys[slots], values[slots])
            for at, slots in zip(spans.rows.split(spans.num_queries), spans.slots.split(spans.num_visible), strict=True)
        ]
    )
    torch.testing.assert_close(attention_backends.spans_by_sdpa(query, keys, values, spans, SCALE), expected)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_by_definition)
    torch.testing.assert_close(attention_backends.spans_by_flash(query, keys, values, spans, SCALE), expected)


def test_the_definition_is_that_of_the_fused_operator(stored: tuple[torch.Tensor, torch.Tensor]) -> None:
    q, k, v = torch.randn(20, KV_HEADS, HEAD_DIM), *(each[:20] for each in stored)
    fused = scaled_dot_product_attention(
        *(each.transpose(0, 1)[None] for each in (q, k, v)), is_causal=True, scale=SCALE
    )
    torch.testing.assert_close(alone(q, k, v), fused[0].transpose(0, 1))
