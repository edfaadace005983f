"""A request whose numbers are not finite ends alone, and nothing of it is used again."""

from __future__ import annotations

import math

from server.engine.schedule.step_plan import StepPlan
from server.errors import ErrorCode
from server.wire import Failed, Finished, Scored
from tests.unit.engine.toy_engine import Shape, ToyEngine
from tests.unit.engine.toy_runner import BAD, toy_results

SHAPES = {
    "chat": Shape(num_blocks=40, block_tokens=4, window=64),
    "mod": Shape(num_blocks=60, block_tokens=4, window=64),
}
LABELS = ((1,), (2, 3))


def planned(engine: ToyEngine) -> tuple[StepPlan, list[list[int] | None], list[list[float]]]:
    plan = engine.scheduler.plan_step()
    assert plan is not None
    return plan, *toy_results(plan, engine.runner.run(plan.step))


def test_a_poisoned_prompt_ends_alone_and_is_counted() -> None:
    engine = ToyEngine(SHAPES)
    healthy, poisoned = engine.generate((1, 2, 3, 4, 5), 6), engine.generate((1, 2, BAD, 4, 5), 6)
    text, bad_text = engine.score((1, 2), LABELS), engine.score((1, BAD), LABELS)
    engine.drain()
    engine.check_results()
    ends = engine.book.ends
    assert isinstance(ends[healthy.request_id], Finished)
    assert isinstance(ends[text.request_id], Scored)
    for request in (poisoned, bad_text):
        end = ends[request.request_id]
        assert isinstance(end, Failed)
        assert (end.code, "not finite" in end.message) == (ErrorCode.INTERNAL, True)
    assert engine.scheduler.status().nonfinite_requests == 2


def test_a_reply_broken_in_the_middle_leaves_nothing_to_be_found_again() -> None:
    engine = ToyEngine(SHAPES)
    prompt = tuple(range(20))
    engine.generate(prompt, 9)
    engine.step()
    plan, _, gathered = planned(engine)
    [end] = engine.scheduler.settle(plan, [None], gathered)
    assert isinstance(end, Failed)
    engine.broken.add(end.request_id)
    engine.book.close(end)
    engine.scheduler.check()
    again = engine.generate(prompt, 9)
    engine.drain()
    engine.check_results()
    assert again.num_cached_tokens == 0
    third = engine.generate(prompt, 9)
    engine.drain()
    assert third.num_cached_tokens == 16, "what a healthy reply computed is found"


def test_a_conversation_that_others_share_is_computed_anew_when_one_of_them_breaks() -> None:
    engine = ToyEngine(SHAPES)
    prompt = tuple(range(20))
    first = engine.generate(prompt, 3)
    engine.drain()
    longer = engine.generate((*prompt, *engine.reply(first), 7, 7, 7, 7, 7), 30)
    broken = engine.generate((*prompt, 9, 9), 5)
    engine.step()
    plan, replies, gathered = planned(engine)
    at = [rows.sequence for rows in plan.reply_rows].index(broken)
    replies[at] = None
    engine.broken.add(broken.request_id)
    for end in engine.scheduler.settle(plan, replies, gathered):
        engine.book.close(end)
    engine.scheduler.check()
    engine.drain()  # the one that goes on keeps its blocks, and offers none that follow forgotten ones
    engine.scheduler.check()
    assert engine.reply(longer)
    assert engine.generate(prompt, 1).num_computed_tokens == 0
    engine.drain()
    engine.check_results()


def test_a_verdict_broken_in_one_window_fails_whole_and_its_prefix_is_forgotten() -> None:
    engine = ToyEngine(SHAPES)
    prefix = tuple(range(30, 46))
    engine.score((1, 2), LABELS, prefix)
    engine.drain()
    request = engine.score(tuple(range(60)), LABELS, prefix)
    assert len(request.sequences) > 1
    plan, replies, gathered = planned(engine)
    gathered[0][-1] = math.nan
    [end] = [each for each in engine.scheduler.settle(plan, replies, gathered) if each.request_id == request.request_id]
    assert isinstance(end, Failed)
    engine.book.close(end)
    engine.scheduler.check()
    assert engine.scheduler.is_idle
    after = engine.score((1, 2), LABELS, prefix)
    engine.drain()
    engine.check_results()
    assert after.sequences[0].num_cached_tokens == 0
    last = engine.score((1, 2), LABELS, prefix)
    engine.drain()
    assert last.sequences[0].num_cached_tokens == 16
    assert engine.pools["chat"].num_free_blocks == 40
