"""Classification in the same steps: one pass over text and labels, windows, pinned prefixes, fairness."""

from __future__ import annotations

import pytest

from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.step import Segment
from server.engine.schedule.step_plan import StepPlan
from server.errors import ErrorCode
from server.wire import Failed, Scored
from tests.unit.engine.toy_engine import Shape, ToyEngine
from tests.unit.engine.toy_runner import solo_log_probs

SHAPES = {
    "chat": Shape(num_blocks=64, block_tokens=4, window=128),
    "mod": Shape(num_blocks=48, block_tokens=4, window=128),
}
LABELS = ((1,), (2, 3), (2, 4, 5), (6, 7, 2, 3), (6, 9, 2, 3))
EXAMPLES = tuple(range(10, 40))


def mod_segments(plan: StepPlan) -> tuple[Segment, ...]:
    return next((step.segments for step in plan.step.model_steps if step.model == "mod"), ())


def texts(plan: StepPlan) -> set[str]:
    """Requests whose windows are in the step."""
    return {advance.sequence.request_id for advance in plan.advances if advance.sequence.model == "mod"}


def test_one_step_gives_every_labels_log_probability() -> None:
    engine = ToyEngine(SHAPES)
    request = engine.score((50, 51, 52), LABELS, EXAMPLES, closing=(60,))
    plans = engine.drain()
    assert len(plans) == 1
    scored = engine.book.ends[request.request_id]
    assert isinstance(scored, Scored)
    assert scored.log_probs == (solo_log_probs((*EXAMPLES, 50, 51, 52, 60), LABELS),)
    assert (scored.num_tokens, scored.num_cached_tokens) == (30 + 4 + 7, 0)


def test_a_label_token_sees_exactly_prefix_text_and_its_ancestors() -> None:
    engine = ToyEngine(SHAPES)
    engine.score((50, 51, 52), LABELS, EXAMPLES, closing=(60,))
    (plan,) = engine.drain()
    context, *runs = mod_segments(plan)
    assert (context.num_logits, context.position, context.entry) == (1, 0, 0)
    written = dict(enumerate(context.tokens))
    for run in runs:
        written.update(enumerate(run.tokens, run.entry))
    seen = set()
    for run in runs:
        assert run.blocks == context.blocks
        for offset in range(len(run.tokens)):
            entries = [*range(run.num_context), *run.ancestors, *range(run.entry, run.entry + offset + 1)]
            tokens = tuple(written[entry] for entry in entries)
            assert tokens[:34] == context.tokens
            assert run.position + offset == len(tokens) - 1
            seen.add(tokens[34:])
        assert run.num_logits == len(run.tokens)
    assert seen == {label[:n] for label in LABELS for n in range(1, len(label))}


def test_the_few_shot_prefix_is_computed_once() -> None:
    engine = ToyEngine(SHAPES)
    engine.score((50, 51), LABELS, EXAMPLES)
    engine.drain()
    request = engine.score((52, 53), LABELS, EXAMPLES)
    (plan,) = engine.drain()
    assert request.sequences[0].num_cached_tokens == 28
    assert len(mod_segments(plan)[0].tokens) == 4
    engine.check_results()


def test_a_pinned_prefix_survives_any_number_of_other_texts() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_pinned_prefixes=1))
    engine.score((50, 51), LABELS, EXAMPLES)
    engine.drain()
    for n in range(12):
        engine.score(tuple((n * 17 + index) % 97 for index in range(70)), LABELS)
        engine.drain()
    request = engine.score((52, 53), LABELS, EXAMPLES)
    engine.drain()
    assert request.sequences[0].num_cached_tokens == 28
    engine.check_results()


def test_the_least_recently_used_prefix_is_unpinned_for_a_new_one() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_pinned_prefixes=2))
    prefixes = [tuple(range(first, first + 20)) for first in (0, 25, 50)]
    for prefix in (prefixes[0], prefixes[1], prefixes[0], prefixes[2]):
        engine.score((90,), LABELS, prefix)
        engine.drain()
    for n in range(12):
        engine.score(tuple((n * 17 + index) % 97 for index in range(100)), LABELS)
        engine.drain()
    cached = []
    for prefix in prefixes:
        request = engine.score((91,), LABELS, prefix)
        engine.drain()
        cached.append(request.sequences[0].num_cached_tokens)
    assert cached == [20, 0, 20]


def test_pinned_prefixes_yield_to_a_text_that_needs_the_whole_pool() -> None:
    engine = ToyEngine({"chat": SHAPES["chat"], "mod": Shape(num_blocks=20, block_tokens=4, window=100)})
    engine.score((50,), LABELS, EXAMPLES)
    engine.drain()
    engine.score(tuple(range(72)), LABELS)
    engine.drain()
    engine.check_results()


def test_a_long_text_is_read_whole_in_windows_that_overlap() -> None:
    engine = ToyEngine(SHAPES)
    text = tuple(range(300))
    request = engine.score(text, LABELS, EXAMPLES, closing=(60, 61))
    room = 128 - len(EXAMPLES) - 2 - 3
    windows = [tuple(window.tokens[30:-2]) for window in request.sequences]
    assert len(windows) == 4
    covered = 0
    for window in windows:
        assert len(window) == room
        (start,) = (n for n in range(len(text)) if text[n : n + room] == window)
        assert start == 0 or covered - start >= 16
        covered = start + room
    assert covered == len(text)
    engine.drain()
    scored = engine.book.ends[request.request_id]
    assert isinstance(scored, Scored)
    assert len(scored.log_probs) == 4
    engine.check_results()


def test_a_text_that_just_fits_is_one_window() -> None:
    engine = ToyEngine(SHAPES)
    room = 128 - len(EXAMPLES) - 3
    assert len(engine.score(tuple(range(room)), LABELS, EXAMPLES).sequences) == 1
    assert len(engine.score((*range(room), 1), LABELS, EXAMPLES).sequences) == 2
    engine.drain()
    engine.check_results()


def test_a_short_text_does_not_wait_for_all_windows_of_a_long_one() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=130, max_running=2))
    long_text = engine.score(tuple(index % 97 for index in range(2000)), LABELS)
    engine.step()
    short = engine.score((5, 6, 7), LABELS)
    for _ in range(3):
        engine.step()
    assert short.request_id in engine.book.ends
    assert long_text.request_id not in engine.book.ends
    engine.drain()
    engine.check_results()


def test_text_longer_than_a_step_is_read_in_chunks_and_ends_with_its_labels() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=24, max_running=2))
    engine.score(tuple(range(90)), LABELS)
    plans = engine.drain()
    assert [plan.step.num_tokens for plan in plans] == [24, 24, 24, 17, 1 + 7]
    assert [len(plan.score_rows) for plan in plans] == [0, 0, 0, 0, 1]
    engine.check_results()


def test_prompts_and_texts_both_move_in_every_step() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=40, max_running=4, max_step_score_tokens=20))
    replies = [engine.generate(tuple(range(n, n + 60)), 3) for n in range(4)]
    for n in range(6):
        engine.score(tuple(range(n, n + 50)), LABELS)
    while not replies[-1].num_new_tokens and engine.scheduler.status().num_waiting > 2:
        plan = engine.step()
        assert plan is not None
        num_score_tokens = sum(len(segment.tokens) for segment in mod_segments(plan))
        assert 0 < num_score_tokens <= 20
        assert num_score_tokens < plan.step.num_tokens
    engine.drain()
    engine.check_results()


def test_a_text_that_has_begun_is_left_out_of_a_step_whose_share_is_used_up() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=24, max_running=2, max_step_score_tokens=8))
    first = engine.score(tuple(range(24)), LABELS)
    second = engine.score((50, 51, 52), LABELS)
    plan = engine.step()
    assert plan is not None
    assert texts(plan) == {first.request_id, second.request_id}
    engine.generate(tuple(range(60)), 2)
    plan = engine.step()
    assert plan is not None
    assert texts(plan) == {first.request_id}
    engine.drain()
    engine.check_results()


def test_texts_have_the_whole_step_when_no_prompt_waits() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=120, max_running=4))
    for n in range(6):
        engine.score(tuple(range(n, n + 10)), LABELS)
    plan = engine.step()
    assert plan is not None
    assert len(plan.score_rows) == 6


def test_a_chat_queue_that_waits_for_blocks_leaves_the_step_to_texts() -> None:
    shapes = {"chat": Shape(num_blocks=8, block_tokens=4, window=32), "mod": SHAPES["mod"]}
    engine = ToyEngine(shapes, ScheduleLimits(max_step_tokens=60, max_running=4), prefix_reuse=False)
    for _ in range(2):
        engine.generate(tuple(range(26)), 6)
    engine.step()
    engine.score(tuple(range(50)), LABELS)
    plan = engine.step()
    assert plan is not None
    assert len(plan.score_rows) == 1


def test_models_share_steps_and_a_full_one_does_not_hold_up_the_other() -> None:
    shapes = {**SHAPES, "mod": Shape(num_blocks=16, block_tokens=4, window=64), "out": SHAPES["mod"]}
    engine = ToyEngine(shapes, ScheduleLimits(max_step_tokens=200, max_running=4))
    for n in range(3):
        engine.score(tuple(range(n, n + 50)), LABELS, model="mod")
    late = engine.score((1, 2, 3), LABELS, model="out")
    plan = engine.step()
    assert plan is not None
    assert late.request_id in engine.book.ends
    assert len(engine.book.live) == 2
    engine.drain()
    engine.check_results()


def test_a_cancelled_text_gives_all_its_windows_back() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=60, max_running=2), prefix_reuse=False)
    request = engine.score(tuple(index % 97 for index in range(500)), LABELS)
    engine.step()
    engine.step(while_running=lambda: engine.cancel(request.request_id))
    assert engine.scheduler.is_idle
    assert engine.pools["mod"].num_free_blocks == 48
    assert engine.scheduler.num_waiting == engine.scheduler.num_waiting_tokens == 0


def test_a_text_past_its_deadline_fails() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=60, max_running=2))
    request = engine.score(tuple(index % 97 for index in range(500)), LABELS, deadline_s=5.0)
    engine.step()
    engine.expire(6.0)
    failed = engine.book.ends[request.request_id]
    assert isinstance(failed, Failed)
    assert failed.code == ErrorCode.DEADLINE


@pytest.mark.parametrize("block_tokens", [1, 3, 16])
def test_label_blocks_are_never_offered_for_reuse(block_tokens: int) -> None:
    shapes = {
        "chat": SHAPES["chat"],
        "mod": Shape(num_blocks=128 // block_tokens, block_tokens=block_tokens, window=64),
    }
    engine = ToyEngine(shapes)
    labels = ((1,) * 20, (2,) * 20)
    engine.score((5, 6, 7), labels)
    engine.drain()
    # A text that spells context and first label out must not find the label's own entries.
    request = engine.score((5, 6, 7, *(1,) * 19, 9), labels)
    engine.drain()
    assert request.sequences[0].num_cached_tokens <= 3
    engine.check_results()


def test_parts_are_scored_as_texts_of_their_own() -> None:
    engine = ToyEngine(SHAPES)
    request = engine.score((50, 51), LABELS, EXAMPLES, closing=(60,), parts=((52,), (53,) * 100))
    engine.drain()
    scored = engine.book.ends[request.request_id]
    assert isinstance(scored, Scored)
    whole, part, *windows = scored.log_probs
    assert whole == solo_log_probs((*EXAMPLES, 50, 51, 60), LABELS)
    assert part == solo_log_probs((*EXAMPLES, 52, 60), LABELS)
    assert len(windows) == 2
    engine.check_results()


def test_the_verdict_on_a_reply_goes_before_texts_that_wait() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=2, max_step_tokens=16))
    early = [engine.score((10 + n,) * 8, LABELS) for n in range(5)]
    reply = engine.score((50,) * 8, LABELS, of_reply=True)
    engine.step()
    assert list(engine.book.ends) == [reply.request_id]
    engine.drain()
    assert list(engine.book.ends)[1:] == [each.request_id for each in early]
    engine.check_results()
