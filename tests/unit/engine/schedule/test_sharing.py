"""Nobody who asks for little waits behind somebody who asks for much."""

from __future__ import annotations

from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.sequence import GenerateSequence
from server.engine.schedule.turns import Turns
from server.wire import Finished, Scored
from tests.unit.engine.toy_engine import Shape, ToyEngine

SHAPES = {
    "chat": Shape(num_blocks=2000, block_tokens=16, window=4096),
    "mod": Shape(num_blocks=400, block_tokens=4, window=256),
}
LABELS = ((1,), (2, 3))


def steps_until_first_token(engine: ToyEngine, sequence: GenerateSequence) -> int:
    for number in range(1, 200):
        engine.step()
        if sequence.num_new_tokens:
            return number
    raise AssertionError("no token")


def test_a_short_question_behind_long_prompts_is_answered_within_two_steps() -> None:
    for num_long in (1, 3):
        engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=512, max_running=32))
        long = [engine.generate(tuple(range(each, 2000 + each)), 4) for each in range(num_long)]
        short = engine.generate((7, 8, 9), 4)
        assert steps_until_first_token(engine, short) <= 2
        assert long[0].num_computed_tokens >= 256, "the oldest has half at least"
        engine.drain()
        engine.check_results()


def test_what_short_prompts_leave_of_a_step_goes_to_the_long_one() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=512, max_running=32))
    engine.generate(tuple(range(2000)), 4)
    engine.generate((7, 8, 9), 4)
    plan = engine.step()
    assert plan is not None
    assert plan.step.num_tokens == 512


def test_one_among_many_of_another_caller_is_next_but_one() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=64, max_running=4))
    crowd = [engine.generate((number, 1, 2), 6, caller="batch") for number in range(64)]
    engine.step()
    assert sum(bool(each.blocks) for each in crowd) == 3, "a place is kept for others"
    person = engine.generate((5, 5, 5), 6)
    assert steps_until_first_token(engine, person) == 1
    other = engine.generate((5, 5, 6), 6, caller="another")
    while not engine.step() or not other.num_new_tokens:
        pass
    assert sum(isinstance(engine.book.ends.get(each.request_id), Finished) for each in crowd) <= 8
    engine.drain()
    engine.check_results()


def test_texts_of_one_caller_do_not_hold_up_those_of_another() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=64, max_running=4))
    crowd = [engine.score(tuple(range(number, number + 40)), LABELS, caller="batch") for number in range(64)]
    engine.step()
    person = engine.score((1, 2, 3), LABELS)
    for _ in range(4):
        engine.step()
    assert isinstance(engine.book.ends.get(person.request_id), Scored)
    assert sum(each.request_id in engine.book.ends for each in crowd) < 8
    engine.drain()
    engine.check_results()


def test_a_verdict_that_a_reply_waits_for_goes_before_the_prompts_of_strangers() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=128, max_running=4, max_step_score_tokens=32))
    engine.generate(tuple(range(1000)), 4)
    verdict = engine.score(tuple(range(100)), LABELS, of_reply=True)
    other = engine.score(tuple(range(100)), LABELS)
    engine.step()
    assert verdict.request_id in engine.book.ends
    assert other.request_id not in engine.book.ends
    engine.drain()
    engine.check_results()


def test_turns_of_a_caller_rise_and_a_new_one_has_the_next() -> None:
    turns = Turns()
    many = [turns.take("a") for _ in range(5)]
    assert [number for number, _ in many] == [1, 2, 3, 4, 5]
    turns.serve(many[0])
    assert turns.take("b")[0] == 2
    assert turns.take("")[0] == turns.take("")[0] == 2
    assert many[1] < turns.take("b")


def test_replies_to_one_prompt_share_what_is_computed_of_it() -> None:
    engine = ToyEngine(SHAPES, ScheduleLimits(max_step_tokens=512, max_running=32))
    prompt = tuple(range(700))
    choices = [engine.generate(prompt, 5) for _ in range(8)]
    other = engine.generate((7, 8, 9), 5)
    assert steps_until_first_token(engine, other) == 1, "what differs need not wait"
    engine.drain()
    engine.check_results()
    assert engine.scheduler.status().prefilled_tokens < 700 + 8 * 16 + 3
    assert all(each.num_cached_tokens >= 688 for each in choices[1:])
