"""Requests that can never run, or not now, are refused at the door with the numbers."""

from __future__ import annotations

import math

import pytest

from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import Scheduler
from server.errors import ErrorCode, ServiceError
from server.wire import Generate, Sampling, Score
from tests.unit.engine.toy_engine import Shape, ToyEngine

SHAPES = {
    "chat": Shape(num_blocks=32, block_tokens=4, window=100),
    "mod": Shape(num_blocks=16, block_tokens=4, window=100),
}
LABELS = ((1,), (2, 3))


def refusal(engine: ToyEngine, call: str, *args: object, **options: object) -> ServiceError:
    """The refusal of `engine.<call>(...)`, after which nothing has changed."""
    before = engine.scheduler.status()
    with pytest.raises(ServiceError) as caught:
        getattr(engine, call)(*args, **options)
    assert engine.scheduler.status() == before
    engine.scheduler.check()
    return caught.value


def test_a_prompt_that_leaves_no_room_for_a_reply_is_refused_with_both_numbers() -> None:
    engine = ToyEngine(SHAPES)
    error = refusal(engine, "generate", (1,) * 100, 5)
    assert (error.code, error.field) == (ErrorCode.PROMPT_TOO_LONG, "prompt")
    assert "100 tokens" in error.message
    assert "at most 99" in error.message
    engine.generate((1,) * 99, 5)
    engine.drain()
    engine.check_results()


def test_a_prompt_that_the_pool_cannot_hold_is_refused() -> None:
    engine = ToyEngine({"chat": Shape(num_blocks=5, block_tokens=4, window=100)})
    assert "at most 19" in refusal(engine, "generate", (1,) * 20, 5).message
    engine.generate((1,) * 19, 5)
    engine.drain()
    engine.check_results()


@pytest.mark.parametrize(
    ("prompt", "num_tokens", "field"), [((), 5, "prompt"), ((1, -1), 5, "prompt"), ((1,), 0, "max_new_tokens")]
)
def test_an_unusable_prompt_is_refused_by_name(prompt: tuple[int, ...], num_tokens: int, field: str) -> None:
    error = refusal(ToyEngine(SHAPES), "generate", prompt, num_tokens)
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, field)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"candidates": ()}, "candidates"),
        ({"candidates": ((1,), (1,))}, "candidates"),
        ({"candidates": ((1, 2**40),)}, "candidates"),
        ({"candidates": (tuple(range(600)),)}, "candidates"),
        ({"candidates": LABELS, "text": ()}, "text"),
        ({"candidates": LABELS, "text": (1, -5)}, "text"),
        ({"candidates": LABELS, "prefix": (-5,)}, "prefix"),
        ({"candidates": LABELS, "closing": (-5,)}, "closing"),
        ({"candidates": LABELS, "parts": ((1,), (2, -5))}, "parts"),
        ({"candidates": LABELS, "parts": ((1,), ())}, "parts"),
        ({"candidates": LABELS, "model": "chat"}, "model"),
        ({"candidates": LABELS, "model": "other"}, "model"),
    ],
)
def test_an_unusable_classification_is_refused_by_name(options: dict[str, object], field: str) -> None:
    error = refusal(ToyEngine(SHAPES), "score", **{"text": (1, 2), **options})
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, field)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("temperature", (-0.1, math.nan, math.inf)),
        ("top_k", (-1,)),
        ("top_p", (0.0, 1.1, math.nan)),
        ("min_p", (-0.1, 1.5, math.nan)),
        ("repetition_penalty", (0.0, -1.0, math.inf, math.nan)),
        ("frequency_penalty", (math.nan, 1e9)),
        ("presence_penalty", (math.nan, -1e9)),
        ("min_tokens", (-1, 17)),
        ("logprobs", (-1, 21)),
        ("stop", (("a", ""),)),
        ("logit_bias", (((50, 1.0),), ((-1, 1.0),), ((3, math.nan),))),
    ],
)
def test_what_cannot_be_sampled_with_is_refused_by_name(field: str, values: tuple[object, ...]) -> None:
    scheduler = Scheduler({"chat": ScheduledModel(BlockPool(8, 4), 32, 50)}, ScheduleLimits(), lambda: 0.0)
    for value in values:
        sampling = Sampling(**{"max_new_tokens": 16, "do_sample": True, field: value})
        with pytest.raises(ServiceError, match=f"{field}.*legal") as caught:
            scheduler.add_generate(Generate("a", (1,), sampling))
        assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_FIELD, field)
    assert scheduler.is_idle


def test_a_token_id_outside_the_vocabulary_is_refused() -> None:
    sizes = {"chat": 50, "mod": 60}
    models = {name: ScheduledModel(BlockPool(8, 4), 32, size) for name, size in sizes.items()}
    scheduler = Scheduler(models, ScheduleLimits(), lambda: 0.0)
    with pytest.raises(ServiceError, match="prompt has token id 50; legal are 0 to 49"):
        scheduler.add_generate(Generate("a", (49, 50), Sampling()))
    with pytest.raises(ServiceError, match="candidates has token id 60; legal are 0 to 59"):
        scheduler.add_score(Score("b", "mod", (), (59,), (), ((60,),)))
    scheduler.add_generate(Generate("a", (49,), Sampling()))


def test_a_prefix_that_leaves_no_room_for_windows_is_refused_only_when_the_text_needs_them() -> None:
    engine = ToyEngine(SHAPES)
    prefix = tuple(range(32))
    error = refusal(engine, "score", (1,) * 40, LABELS, prefix)
    assert (error.code, error.field) == (ErrorCode.PROMPT_TOO_LONG, "text")
    for number in ("40 tokens", "leave 31", "at least 32"):
        assert number in error.message
    assert refusal(engine, "score", (1,), LABELS, (1,) * 200).code == ErrorCode.PROMPT_TOO_LONG
    engine.score((1,) * 31, LABELS, prefix)
    engine.drain()
    engine.check_results()


def test_a_request_id_in_use_is_refused() -> None:
    engine = ToyEngine(SHAPES)
    sequence = engine.generate((1, 2), 5)
    twin = Generate(sequence.request_id, (1,), Sampling())
    with pytest.raises(ServiceError, match="in use"):
        engine.scheduler.add_generate(twin)
    engine.drain()
    engine.scheduler.add_generate(twin)


def test_the_queue_is_bounded_beyond_the_places_that_are_open() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=2, max_queue=3, max_step_tokens=16))
    for n in range(5):
        engine.generate((n,), 10)
    error = refusal(engine, "generate", (9,), 10)
    assert (error.code, error.retry_after_s) == (ErrorCode.QUEUE_FULL, 1.0)
    assert "5 requests wait" in error.message
    engine.step()
    assert refusal(engine, "generate", (9,), 10).code == ErrorCode.QUEUE_FULL
    engine.score((1, 2), LABELS)
    engine.drain()


def test_the_queue_is_bounded_by_tokens() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=1, max_queue=50, max_queued_tokens=60, max_step_tokens=16))
    engine.generate((1,) * 99, 1)
    error = refusal(engine, "generate", (2,) * 10, 1)
    assert error.code == ErrorCode.QUEUE_FULL
    assert "99 tokens wait already, 10 more would exceed 60" in error.message


def test_the_time_to_wait_follows_from_the_observed_rate() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=1, max_queue=1, max_step_tokens=10))
    engine.generate((1,) * 20, 50)
    for _ in range(2):
        engine.step(while_running=lambda: setattr(engine.clock, "now", engine.clock.now + 2.0))
    engine.generate((2,) * 40, 5)
    error = refusal(engine, "generate", (3,) * 20, 5)
    assert error.retry_after_s == 12.0, "60 tokens at 10 tokens in 2 seconds"
    engine.drain()


def test_a_reply_that_would_begin_after_its_deadline_is_refused_with_both_times() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=1, max_queue=50, max_step_tokens=16))

    def pass_a_second() -> None:
        engine.clock.now += 1.0

    engine.generate((1,), 10)
    engine.generate((2,), 10)
    for _ in range(10):
        engine.step(while_running=pass_a_second)  # the first ends: ten tokens a reply, a second each
    engine.generate((3,), 10, deadline_s=100.0)
    error = refusal(engine, "generate", (4,), 10, deadline_s=5.0)
    assert error.code is ErrorCode.QUEUE_FULL
    assert "the request has 5 s" in error.message
    assert error.retry_after_s is not None
    assert 5 <= error.retry_after_s <= 40
    engine.generate((4,), 10, deadline_s=100.0)
    engine.drain()


def test_classifications_are_bounded_too() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=1, max_queue=2, max_step_tokens=16))
    for n in range(3):
        engine.score((n,), LABELS)
    assert refusal(engine, "score", (1,), LABELS).code == ErrorCode.QUEUE_FULL
    engine.generate((1,), 2)
    engine.drain()


def test_a_flood_of_texts_leaves_the_places_of_verdicts_on_replies() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=1, max_queue=2, max_step_tokens=16))
    for n in range(3):
        engine.score((n,), LABELS)
    assert refusal(engine, "score", (1,), LABELS).code == ErrorCode.QUEUE_FULL
    for n in range(3):
        engine.score((n,), LABELS, of_reply=True)
    assert refusal(engine, "score", (1,), LABELS, of_reply=True).code == ErrorCode.QUEUE_FULL
    engine.drain()
    engine.check_results()


def test_waiting_tokens_of_texts_refuse_no_verdict_on_a_reply() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_queued_tokens=60, max_step_tokens=64))
    engine.score((1,) * 40, LABELS)
    assert refusal(engine, "score", (1,) * 40, LABELS).code == ErrorCode.QUEUE_FULL
    engine.score((1,) * 40, LABELS, of_reply=True)
    engine.drain()


def test_a_text_that_would_fill_the_queue_is_refused_with_the_numbers() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_queued_tokens=400, max_step_tokens=64))
    error = refusal(engine, "score", (1,) * 150, LABELS)
    assert (error.code, error.field) == (ErrorCode.PROMPT_TOO_LONG, "text")
    for number in ("150 tokens", "in 3 windows", "at most 100"):
        assert number in error.message, error.message
    engine.score((1,) * 150, LABELS, of_reply=True)
    engine.drain()
    engine.check_results()


def test_a_text_of_one_window_is_never_too_long() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_queued_tokens=40, max_step_tokens=64))
    engine.score((1,) * 50, LABELS)
    engine.drain()


def test_a_thousand_parts_take_one_place_and_count_as_one_text() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_running=1, max_queue=1, max_step_tokens=64))
    engine.score((1, 2), LABELS, parts=((3,),) * 1000)
    engine.score((1, 2), LABELS)
    engine.drain()
    engine.check_results()
    assert "at most 32768" in refusal(engine, "score", (1, 2), LABELS, parts=((3,) * 9,) * 4000).message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_running": 0}, "max_running=0"),
        ({"max_queue": 0}, "max_queue=0"),
        ({"max_queued_tokens": -1}, "max_queued_tokens=-1"),
        ({"max_step_score_tokens": 0}, "max_step_score_tokens=0"),
        ({"max_step_tokens": 33, "max_running": 32}, "at least max_running"),
    ],
)
def test_limits_that_would_starve_someone_are_refused(options: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ScheduleLimits(**options)
