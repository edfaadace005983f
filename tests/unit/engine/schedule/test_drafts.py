"""Replies drafted from what was said before: the same tokens in fewer steps, and nothing kept that was not verified."""

from __future__ import annotations

import random

import pytest

from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.prompt_lookup import MAX_DRAFT_TOKENS, DraftLength, PromptLookup
from server.engine.schedule.step_plan import verified
from tests.unit.engine.toy_engine import Shape, ToyEngine
from tests.unit.engine.toy_runner import solo_reply


def engine_of(vocab: int, *, drafts: bool = True, max_running: int = 16, num_blocks: int = 64) -> ToyEngine:
    shapes = {"chat": Shape(num_blocks=num_blocks, block_tokens=4, window=128)}
    limits = ScheduleLimits(max_step_tokens=64, max_running=max_running)
    return ToyEngine(shapes, limits, drafts=drafts, vocab=vocab)


def test_a_reply_that_repeats_itself_takes_fewer_steps_and_says_the_same() -> None:
    steps = {}
    for drafts in (False, True):
        engine = engine_of(vocab=1, drafts=drafts)
        sequence = engine.generate((5, 6, 7), 60)
        steps[drafts] = len(engine.drain())
        engine.check_results()
        assert engine.reply(sequence) == solo_reply((5, 6, 7), 60, 1)
    assert steps[False] == 60
    assert steps[True] < 15
    status = engine.scheduler.status()
    assert status.drafted_tokens >= status.accepted_tokens > 45
    assert status.generated_tokens == 60


def test_tokens_are_the_same_with_and_without_drafts_in_thousands_of_schedules() -> None:
    drafted = accepted = preempted = 0
    for seed in range(1500):
        rng = random.Random(seed)
        engine = engine_of(rng.choice((1, 2, 3)), max_running=rng.randint(2, 8), num_blocks=rng.randint(32, 48))
        for _ in range(rng.randint(1, 5)):
            prompt = tuple(rng.choices(range(3), k=rng.randint(1, 20)))
            engine.generate(prompt, rng.randint(1, 30))
            for _ in range(rng.randrange(4)):
                engine.step()
            if engine.book.live and rng.random() < 0.1:
                engine.cancel(rng.choice(engine.book.live))
        engine.drain()
        engine.check_results()  # each says what it says alone, a token a step
        status = engine.scheduler.status()
        drafted, accepted = drafted + status.drafted_tokens, accepted + status.accepted_tokens
        preempted += status.preemptions
    assert drafted > accepted > 5000
    assert preempted > 0


def test_what_was_drafted_is_not_found_by_another_request_before_it_is_verified() -> None:
    engine = engine_of(vocab=2)
    first = engine.generate((1, 0, 1, 0, 1, 0), 40)
    seen = 0
    for _ in range(12):
        plan = engine.scheduler.plan_step()
        assert plan is not None
        draft = next((rows.draft for rows in plan.reply_rows), ())
        known = first.tokens[: first.num_known_tokens]
        engine.scheduler.check()
        if draft:
            seen += 1
            asked = engine.generate((*known, *draft, 0, 0, 0, 0), 1)
            cached = engine.scheduler._blocks["chat"]._find_reusable(asked)
            assert len(cached) * 4 <= len(known)
            engine.cancel(asked.request_id)
        states = engine.runner.run(plan.step)
        sampled = [states["chat"][row] % 2 for row in range(len(states["chat"]))]
        replies = [verified(rows.draft, sampled[rows.first_row :][: rows.num_rows]) for rows in plan.reply_rows]
        engine.scheduler.settle(plan, replies, [])
    assert seen > 3


def test_a_reply_cut_in_the_middle_of_a_draft_has_no_token_more() -> None:
    engine = engine_of(vocab=1)
    sequence = engine.generate((0, 0, 0, 0), 40)
    engine.step()
    plan = engine.scheduler.plan_step()
    assert plan is not None
    [rows] = plan.reply_rows
    assert len(rows.draft) > 2
    assert engine.scheduler.settle(plan, [[0, 0]], []) == []
    assert sequence.num_new_tokens == 3
    engine.scheduler.check()
    engine.stop(sequence)
    assert engine.pools["chat"].num_free_blocks == 64


def test_no_step_drafts_where_as_many_replies_run_as_may() -> None:
    engine = engine_of(vocab=1, max_running=4)
    for _ in range(4):
        engine.generate((0, 0, 0, 0), 20)
    engine.drain()
    assert engine.scheduler.status().drafted_tokens == 0


def test_drafts_take_no_blocks_from_replies_that_run() -> None:
    engine = engine_of(vocab=1, num_blocks=32)
    for _ in range(3):
        engine.generate((0,) * 30, 12)
    engine.drain()
    assert engine.scheduler.status().preemptions == 0
    engine.check_results()


@pytest.mark.parametrize(
    ("draft", "sampled", "expected"),
    [((), [4], [4]), ((7, 8), [7, 8, 9], [7, 8, 9]), ((7, 8), [7, 1, 9], [7, 1]), ((7, 8), [2, 8, 9], [2])],
)
def test_what_follows_the_first_wrong_token_is_dropped(
    draft: tuple[int, ...], sampled: list[int], expected: list[int]
) -> None:
    assert verified(draft, sampled) == expected


def test_the_draft_is_what_followed_the_longest_match_where_it_last_stood() -> None:
    lookup = PromptLookup()
    assert lookup.draft([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 3) == (4, 9, 2)
    assert lookup.draft([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3, 7, 9, 2], 2) == (3, 5)
    assert lookup.draft([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3, 7, 9, 2, 8], 2) == ()
    assert PromptLookup().draft([6, 6, 6], 5) == (6, 6, 6, 6, 6), "a run goes on"
    assert PromptLookup().draft([1, 2, 1, 2], 5) == (1, 2, 1, 2, 1)


def test_drafts_grow_while_they_are_right_and_stop_where_they_are_not() -> None:
    length = DraftLength()
    first = length.tokens(1)
    for _ in range(12):
        length.note(4, 4)
    assert first < length.tokens(1) == MAX_DRAFT_TOKENS
    length.rate = 0.8
    assert length.tokens(16) == 0 < length.tokens(4) < length.tokens(1), "a row is dearer where many decode"
    for _ in range(40):
        length.note(2, 0)
    drafts = [length.tokens(1) for _ in range(64)]
    assert sum(drafts) == 4, "one token now and then, to see whether it pays again"
