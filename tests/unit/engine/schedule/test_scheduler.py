"""Replies in steps: who gets tokens, who gives blocks, and how each ends."""

from __future__ import annotations

import pytest

from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.step import pending_token
from server.errors import ErrorCode
from server.wire import Failed
from tests.unit.engine.toy_engine import Shape, ToyEngine
from tests.unit.engine.toy_runner import solo_reply

ROOMY = {"chat": Shape(num_blocks=64, block_tokens=4, window=128)}
TIGHT = {"chat": Shape(num_blocks=8, block_tokens=2, window=16)}


def prompt(first: int, num_tokens: int) -> tuple[int, ...]:
    return tuple((first * 31 + index) % 97 for index in range(num_tokens))


def test_a_reply_is_what_it_is_alone() -> None:
    engine = ToyEngine(ROOMY)
    sequence = engine.generate(prompt(1, 7), 9)
    engine.drain()
    assert engine.reply(sequence) == solo_reply(prompt(1, 7), 9)
    assert engine.book.ends[sequence.request_id].reason == "length"


def test_a_long_prompt_is_prefilled_in_chunks_while_every_running_reply_gets_its_token() -> None:
    engine = ToyEngine(ROOMY, ScheduleLimits(max_step_tokens=12, max_running=4))
    running = [engine.generate(prompt(n, 3), 30) for n in range(3)]
    engine.step()
    late = engine.generate(prompt(9, 60), 2)
    num_steps = 0
    while late.num_new_tokens == 0:
        before = [each.num_new_tokens for each in running]
        plan = engine.step()
        assert plan is not None
        assert plan.step.num_tokens == 12 or late.num_new_tokens
        assert [each.num_new_tokens for each in running] == [count + 1 for count in before]
        num_steps += 1
    assert num_steps == 7, "60 tokens, 9 a step beside three decodes"
    engine.drain()
    engine.check_results()


def test_prompts_are_served_in_the_order_they_came() -> None:
    engine = ToyEngine(ROOMY, ScheduleLimits(max_step_tokens=10, max_running=2))
    sequences = [engine.generate(prompt(n, 9), 3) for n in range(6)]
    first_token_at = {}
    for number in range(100):
        if engine.step() is None:
            break
        for sequence in sequences:
            if sequence.num_new_tokens:
                first_token_at.setdefault(sequence.request_id, number)
    assert list(first_token_at) == [sequence.request_id for sequence in sequences]


def test_several_short_prompts_share_a_step() -> None:
    engine = ToyEngine(ROOMY, ScheduleLimits(max_step_tokens=40, max_running=8))
    sequences = [engine.generate(prompt(n, 5), 3) for n in range(8)]
    plan = engine.step()
    assert plan is not None
    assert [rows.sequence for rows in plan.reply_rows] == sequences


def test_when_blocks_run_out_the_newest_gives_its_own_and_says_the_same_in_the_end() -> None:
    engine = ToyEngine(TIGHT, ScheduleLimits(max_step_tokens=16, max_running=4))
    sequences = [engine.generate(prompt(n, 4), 12) for n in range(3)]
    while not engine.scheduler.status().preemptions:
        engine.step()
    newest = [sequence for sequence in sequences if not sequence.blocks]
    assert sequences[-1] in newest
    assert sequences[0].blocks
    assert all(sequence.num_new_tokens for sequence in newest), "what was sampled is kept"
    engine.drain()
    engine.check_results()
    assert engine.pools["chat"].num_free_blocks == 8


def test_a_prompt_waits_rather_than_take_the_block_a_running_reply_needs_next() -> None:
    engine = ToyEngine(TIGHT, ScheduleLimits(max_step_tokens=16, max_running=4))
    engine.generate(prompt(1, 4), 8)
    engine.step()
    late = engine.generate(prompt(2, 10), 2)
    engine.step()
    assert late.blocks == []
    engine.drain()
    assert engine.scheduler.status().preemptions == 0
    engine.check_results()


def test_a_reply_that_fills_the_whole_pool_ends() -> None:
    engine = ToyEngine(TIGHT)
    sequence = engine.generate(prompt(1, 1), 1000)
    other = engine.generate(prompt(2, 15), 1000)
    engine.drain()
    assert (sequence.num_tokens, other.num_tokens) == (16, 16)
    engine.check_results()


def test_a_reply_is_cut_to_what_the_window_leaves() -> None:
    engine = ToyEngine(ROOMY)
    sequence = engine.generate(prompt(1, 100), 1000)
    engine.drain()
    assert sequence.num_new_tokens == sequence.max_new_tokens == 28


def test_a_cancelled_reply_has_given_its_blocks_back_when_cancel_returns() -> None:
    engine = ToyEngine(ROOMY, prefix_reuse=False)
    sequence = engine.generate(prompt(1, 9), 9)
    engine.step()
    assert engine.pools["chat"].num_free_blocks == 61
    engine.cancel(sequence.request_id)
    assert engine.pools["chat"].num_free_blocks == 64
    assert engine.scheduler.is_idle
    assert engine.step() is None


def test_a_reply_cancelled_while_its_step_runs_is_passed_over_when_the_step_is_settled() -> None:
    engine = ToyEngine(ROOMY)
    gone = engine.generate(prompt(1, 9), 9)
    kept = engine.generate(prompt(2, 9), 9)
    engine.step(while_running=lambda: engine.cancel(gone.request_id))
    assert (gone.num_new_tokens, kept.num_new_tokens) == (0, 1)
    engine.drain()
    engine.check_results()


def test_cancelling_what_is_not_there_changes_nothing() -> None:
    engine = ToyEngine(ROOMY)
    sequence = engine.generate(prompt(1, 3), 1)
    engine.drain()
    engine.cancel(sequence.request_id)
    engine.cancel("never heard of")


def test_a_reply_past_its_deadline_ends_with_what_it_has() -> None:
    engine = ToyEngine(ROOMY)
    sequence = engine.generate(prompt(1, 5), 50, deadline_s=10.0)
    waiting = engine.generate(prompt(2, 5), 50, deadline_s=20.0)
    for _ in range(4):
        engine.step()
    engine.expire(9.0)
    assert engine.book.live == [sequence.request_id, waiting.request_id]
    engine.expire(1.0)
    end = engine.book.ends[sequence.request_id]
    assert (end.reason, end.num_new_tokens) == ("deadline", 4)
    engine.expire(30.0)
    assert engine.scheduler.is_idle
    engine.check_results()


def test_a_reply_that_never_began_can_expire() -> None:
    engine = ToyEngine(ROOMY, ScheduleLimits(max_running=1, max_step_tokens=32))
    engine.generate(prompt(1, 5), 50)
    waiting = engine.generate(prompt(2, 5), 50, deadline_s=1.0)
    engine.step()
    engine.expire(2.0)
    assert engine.book.ends[waiting.request_id].num_new_tokens == 0
    assert engine.scheduler.num_waiting == engine.scheduler.num_waiting_tokens == 0


def test_a_stopped_reply_ends_once() -> None:
    engine = ToyEngine(ROOMY)
    sequence = engine.generate(prompt(1, 5), 50)
    engine.step()
    engine.stop(sequence)
    engine.stop(sequence)
    assert engine.book.ends[sequence.request_id].reason == "stop"
    assert engine.scheduler.is_idle


def test_when_the_group_fails_every_request_ends_once() -> None:
    engine = ToyEngine(ROOMY, ScheduleLimits(max_running=2, max_step_tokens=32))
    names = [engine.generate(prompt(n, 5), 50).request_id for n in range(5)]
    engine.step()
    failed = engine.scheduler.fail_all(ErrorCode.ENGINE_UNAVAILABLE, "rank 1 died")
    assert failed == [Failed(name, ErrorCode.ENGINE_UNAVAILABLE, "rank 1 died") for name in names]
    assert engine.scheduler.is_idle
    assert engine.scheduler.fail_all(ErrorCode.ENGINE_UNAVAILABLE, "again") == []
    assert engine.pools["chat"].num_free_blocks == 64


def test_an_idle_scheduler_plans_nothing() -> None:
    assert ToyEngine(ROOMY).scheduler.plan_step() is None


def test_one_step_may_be_planned_before_the_last_one_is_settled_and_no_more() -> None:
    engine = ToyEngine(ROOMY)
    engine.generate(prompt(1, 5), 5)
    first, second = engine.scheduler.plan_step(), engine.scheduler.plan_step()
    assert first is not None
    assert second is not None
    assert second.step.model_steps[0].segments[0].tokens == (pending_token(0),)
    with pytest.raises(AssertionError, match="not settled"):
        engine.scheduler.plan_step()
    with pytest.raises(AssertionError, match="in order"):
        engine.scheduler.settle(second, [2], [])


def test_a_reply_that_ends_while_its_next_step_runs_keeps_what_was_settled() -> None:
    engine = ToyEngine(ROOMY)
    sequence = engine.generate(prompt(1, 5), 5)
    first, second = engine.scheduler.plan_step(), engine.scheduler.plan_step()
    assert first is not None
    assert second is not None
    engine.scheduler.settle(first, [[7]], [])
    end = engine.scheduler.finish(sequence, "stop")
    assert end is not None
    assert (end.num_new_tokens, engine.reply(sequence)) == (1, [7])
    assert engine.scheduler.settle(second, [8], []) == []
    assert engine.reply(sequence) == [7]
    assert engine.pools["chat"].num_free_blocks == engine.pools["chat"].num_blocks


def test_no_step_is_planned_for_a_reply_whose_last_token_is_under_way() -> None:
    engine = ToyEngine(ROOMY)
    engine.generate(prompt(1, 5), 1)
    first = engine.scheduler.plan_step()
    assert first is not None
    assert engine.scheduler.plan_step() is None
    assert [end.request_id for end in engine.scheduler.settle(first, [[7]], [])] == ["r1"]
    assert engine.scheduler.is_idle


def test_steps_are_numbered_and_decodes_ask_for_one_row_each() -> None:
    engine = ToyEngine(ROOMY)
    engine.generate(prompt(1, 5), 3)
    plans = engine.drain()
    assert [plan.step.number for plan in plans] == [0, 1, 2]
    for plan in plans[1:]:
        (model_step,) = plan.step.model_steps
        (segment,) = model_step.segments
        assert (model_step.model, len(segment.tokens), segment.num_logits) == ("chat", 1, 1)
        assert segment.position == segment.entry == segment.num_context


def test_the_status_counts_what_was_done() -> None:
    engine = ToyEngine(ROOMY)
    engine.generate(prompt(1, 9), 3)
    engine.drain()
    engine.generate(prompt(1, 9), 1)
    engine.drain()
    status = engine.scheduler.status()
    assert (status.steps, status.generated_tokens, status.preemptions) == (4, 4, 0)
    assert (status.prefilled_tokens, status.cached_tokens) == (9 + 1, 8)
    assert (status.free_blocks, status.total_blocks) == ({"chat": 64}, {"chat": 64})
    assert (status.num_running, status.num_waiting, status.num_waiting_tokens) == (0, 0, 0)
