"""Keys and values computed once: between turns, between requests, after preemption."""

from __future__ import annotations

import pytest

from server.engine.schedule.limits import ScheduleLimits
from tests.unit.engine.toy_engine import Shape, ToyEngine

CHAT = {"chat": Shape(num_blocks=64, block_tokens=4, window=200)}
PREAMBLE = tuple(range(20))


def test_the_next_turn_reuses_every_block_of_the_turns_before_it() -> None:
    engine = ToyEngine(CHAT)
    first = engine.generate((*PREAMBLE, 50, 51, 52), 10)
    engine.drain()
    # The last reply token was never fed back, so it has no keys and values yet.
    num_computed = first.num_tokens - 1
    second = engine.generate((*first.tokens, 60, 61), 10)
    engine.drain()
    assert num_computed == 32
    assert second.num_cached_tokens == 32
    third = engine.generate((*second.tokens, 70, 71), 5)
    engine.drain()
    assert third.num_cached_tokens == (second.num_tokens - 1) // 4 * 4
    engine.check_results()


def test_conversations_with_the_same_preamble_share_its_blocks_while_both_run() -> None:
    engine = ToyEngine(CHAT)
    one = engine.generate((*PREAMBLE, 50), 10)
    engine.step()
    two = engine.generate((*PREAMBLE, 60), 10)
    engine.step()
    assert one.blocks[:5] == two.blocks[:5]
    assert not set(one.blocks[5:]) & set(two.blocks[5:])
    engine.drain()
    engine.check_results()


def test_equal_prompts_that_arrive_together_end_up_in_the_same_blocks() -> None:
    engine = ToyEngine(CHAT)
    one, two = (engine.generate(PREAMBLE, 10) for _ in range(2))
    engine.step()
    assert one.blocks[:5] == two.blocks[:5]
    engine.drain()
    engine.check_results()


def test_of_a_prompt_that_is_all_cached_the_last_token_is_still_computed() -> None:
    engine = ToyEngine(CHAT)
    for _ in range(2):
        sequence = engine.generate(PREAMBLE, 3)
        plans = engine.drain()
    assert sequence.num_cached_tokens == 16
    assert plans[0].step.num_tokens == 4
    engine.check_results()


def test_without_reuse_everything_is_computed_again() -> None:
    engine = ToyEngine(CHAT, prefix_reuse=False)
    for _ in range(2):
        sequence = engine.generate(PREAMBLE, 3)
        engine.drain()
    assert sequence.num_cached_tokens == 0
    assert engine.scheduler.status().prefilled_tokens == 40
    engine.check_results()


@pytest.mark.parametrize("prefix_reuse", [True, False])
def test_a_preempted_reply_comes_back_to_the_same_words(prefix_reuse: bool) -> None:
    engine = ToyEngine(
        {"chat": Shape(num_blocks=10, block_tokens=2, window=20)},
        ScheduleLimits(max_step_tokens=8, max_running=4),
        prefix_reuse=prefix_reuse,
    )
    for n in range(5):
        engine.generate((n, n + 1, n + 2, n + 3), 14)
    engine.drain()
    assert engine.scheduler.status().preemptions
    engine.check_results()


def test_what_a_preempted_reply_computed_is_not_counted_as_cached_prompt() -> None:
    engine = ToyEngine({"chat": Shape(num_blocks=10, block_tokens=2, window=20)}, ScheduleLimits(max_running=3))
    sequences = [engine.generate((n, n + 1, n + 2, n + 3), 14) for n in range(3)]
    engine.drain()
    assert engine.scheduler.status().preemptions
    assert [sequence.num_cached_tokens for sequence in sequences] == [0, 0, 0]
    assert engine.scheduler.status().cached_tokens == 0


def test_a_reply_cancelled_while_its_prompt_is_computed_leaves_what_the_step_computes_to_reuse() -> None:
    engine = ToyEngine(CHAT, ScheduleLimits(max_step_tokens=10, max_running=2))
    gone = engine.generate(PREAMBLE, 5)
    engine.step()
    engine.step(while_running=lambda: engine.cancel(gone.request_id))
    again = engine.generate(PREAMBLE, 5)
    engine.drain()
    assert again.num_cached_tokens == 16, "full blocks of both chunks: the second step ran all the same"
    engine.check_results()
