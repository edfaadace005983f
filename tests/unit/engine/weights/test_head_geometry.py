"""Heads are shared out as AutoTP shares them out."""

from __future__ import annotations

import pytest
from deepspeed.module_inject.tp_shard import AutoTPMeta, get_shard_size_list
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPTJConfig, LlamaConfig

from server.engine.weights.head_geometry import HeadGeometry


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 12), st.integers(1, 16))
def test_every_rank_gets_the_heads_that_autotp_gives_it(kv_heads: int, group: int, world: int, head_dim: int) -> None:
    whole = HeadGeometry(kv_heads * group, kv_heads, head_dim, 1.0)
    shares = [whole.share(rank, world) for rank in range(world)]
    meta = AutoTPMeta(num_kv_heads=kv_heads)
    for rows, sizes in (
        (whole.heads * head_dim, [each.heads * head_dim for each in shares]),
        (whole.kv_heads * head_dim, [each.kv_heads * head_dim for each in shares]),
    ):
        assert get_shard_size_list(rows, world, meta, "self_attn.q_proj") == sizes
    assert (whole.fault(world) is None) == all(each.kv_heads for each in shares)


def test_it_is_read_from_a_file_or_from_transformers() -> None:
    grouped = HeadGeometry(9, 3, 64, 0.125)
    fields = {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}
    assert HeadGeometry.of(fields) == HeadGeometry.of(LlamaConfig(**fields)) == grouped
    assert HeadGeometry.of({**fields, "head_dim": 16}).head_dim == 16
    alike = HeadGeometry(4, 4, 16, 0.25)
    assert HeadGeometry.of({"n_embd": 64, "n_head": 4}) == HeadGeometry.of(GPTJConfig(n_embd=64, n_head=4)) == alike


def test_query_heads_that_do_not_divide_by_the_key_value_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="num_attention_heads=9 does not divide by num_key_value_heads=2"):
        HeadGeometry.of({"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 2})


def test_a_rank_without_heads_is_named() -> None:
    grouped = HeadGeometry(9, 3, 64, 0.125)
    assert grouped.fault(3) is None
    assert grouped.fault(4) == "3 key-value heads do not reach for 4 ranks"
