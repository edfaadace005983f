"""How many tokens of keys and values are kept: never fewer than one window, never more than the replies can use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.engine.model.kv_budget import MAX_GATHERED_TOKENS, ChatDemand, KvShape, chat_tokens, score_tokens
from server.engine.weights.head_geometry import HeadGeometry

HEADS = HeadGeometry(heads=16, kv_heads=16, head_dim=96, scale=96**-0.5)
SHAPE = KvShape(layers=44, heads=HEADS, bytes_per_value=2)  # a quarter of GPT-NeoX-20B
GIB = 2**30
WINDOW = 2048


def tokens(
    wanted: int = 0, free: int = 8 * GIB, running: int = 32, *, on_gpu: bool = True, beside: tuple[KvShape, ...] = ()
) -> int:
    return chat_tokens(ChatDemand(wanted, WINDOW, running, 4, on_gpu), SHAPE, beside, free)


def test_what_is_wanted_is_kept_from_one_window_on() -> None:
    assert tokens(WINDOW) == WINDOW
    with pytest.raises(ValueError, match="OCK_KV_CACHE_TOKENS=2047: at least one window of 2048"):
        tokens(WINDOW - 1)


def test_a_gpu_keeps_room_for_what_a_decode_step_gathers_of_one_layer() -> None:
    gathered = 32 * WINDOW * SHAPE.bytes_per_token // SHAPE.layers
    assert tokens() == (int(8 * GIB * 0.9) - gathered) // SHAPE.bytes_per_token


@pytest.mark.parametrize(("running", "gathered"), [(33, 64 * WINDOW), (3, MAX_GATHERED_TOKENS)])
def test_what_is_gathered_is_padded_decodes_or_a_group_of_chunks(running: int, gathered: int) -> None:
    room = int(4 * GIB * 0.9) - gathered * SHAPE.bytes_per_layer
    assert tokens(free=4 * GIB, running=running) == min(room // SHAPE.bytes_per_token, (running + 1) * WINDOW)


def test_the_widest_model_of_the_group_is_the_one_that_gathers_most() -> None:
    wide = replace(SHAPE, heads=replace(HEADS, heads=48, kv_heads=48))
    gathered = 32 * WINDOW * 3 * SHAPE.bytes_per_layer
    assert tokens(beside=(wide,)) == (int(8 * GIB * 0.9) - gathered) // SHAPE.bytes_per_token


def test_query_heads_that_share_keys_and_values_cost_what_the_shared_ones_cost() -> None:
    grouped = replace(SHAPE, heads=replace(HEADS, kv_heads=2))
    assert grouped.bytes_per_token == SHAPE.bytes_per_token // 8


def test_no_more_than_every_running_reply_can_fill() -> None:
    assert tokens(free=800 * GIB) == 33 * WINDOW
    assert tokens(running=2, free=800 * GIB) == 3 * WINDOW


def test_ranks_that_share_a_cpu_s_memory_share_what_is_free() -> None:
    assert tokens(free=16 * GIB, on_gpu=False) == GIB // SHAPE.bytes_per_token


def test_less_than_a_window_is_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="one window of 2048 tokens need 528 MiB a rank, 268 MiB are left"):
        tokens(free=GIB // 2, running=4)


@pytest.mark.parametrize(("window", "kept"), [(2048, 4 * 2048), (8192, 4 * 8192), (32768, 32768), (131072, 131072)])
def test_a_classifier_of_long_texts_keeps_one_window_of_them(window: int, kept: int) -> None:
    assert score_tokens(window) == kept
