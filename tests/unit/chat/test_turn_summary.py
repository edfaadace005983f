"""What the window forgets is summed up behind the turns' backs, and stands in later prompts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from server import wire
from server.chat.records.turn_records import Feedback, Session
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer
from tests.unit.chat.turn_bench import WAIT_S, Bench
from tests.unit.chat.turn_doubles import Engine

SUMMARY = "The visitor is called Mirabel."


class Summariser(Engine):
    """Answers questions as ever, and says `SUMMARY` when it is to sum up, once it `may`."""

    def __init__(self) -> None:
        super().__init__()
        self.summary = SUMMARY
        self.may = threading.Event()
        self.may.set()
        self.summed_up: list[str] = []
        self.asked: list[str] = []

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        prompt = chat_tokenizer("ordinary").decode(list(request.prompt))
        if not request.request_id.startswith("summary-"):
            self.asked.append(prompt)
            super().start(request, deliver)
            return
        self.summed_up.append(prompt)
        threading.Thread(target=self._sum_up, args=(request, deliver), daemon=True).start()

    def _sum_up(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        assert self.may.wait(WAIT_S)
        deliver(wire.Piece(request.request_id, self.summary, 5))
        deliver(wire.Finished(request.request_id, "stop", len(request.prompt), 0, 5))


@pytest.fixture
def engine() -> Iterator[Summariser]:
    engine = Summariser()
    yield engine
    engine.may.set()


@pytest.fixture
def bench(engine: Summariser) -> Bench:
    return Bench(engine, summary_tokens=32)


def session(bench: Bench) -> Session:
    found = bench.store.load("s", 200)
    assert found is not None
    return found


def waiting(bench: Bench) -> int:
    return len(bench.turns._summaries._waiting)


def settle(bench: Bench) -> None:
    deadline = time.monotonic() + WAIT_S
    while waiting(bench):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def talk_until_the_window_moves(bench: Bench, times: int = 1) -> None:
    """Ask until so many prompts had to leave turns out, and what came of it is done."""
    moved, dropped = 0, 0
    for number in range(200):
        result = bench.ask(f"I am Mirabel, and this is remark {number} of a long conversation about nothing.")
        if result.usage.dropped_turns > dropped:
            dropped, moved = result.usage.dropped_turns, moved + 1
            settle(bench)
        if moved == times:
            return
    pytest.fail("the window never moved")


def test_what_the_window_forgets_is_summed_up_and_stands_in_the_next_prompt(bench: Bench, engine: Summariser) -> None:
    talk_until_the_window_moves(bench)
    [prompt] = engine.summed_up
    assert "remark 0 of" in prompt
    assert "Summarize our conversation so far" in prompt
    kept = session(bench)
    assert (kept.summary, kept.num_summarised) == (SUMMARY, kept.turns[-1].usage.dropped_turns)
    bench.ask("Who am I?")
    assert f"What was said before: {SUMMARY}" in engine.asked[-1]
    assert "remark 0 of" not in engine.asked[-1]
    assert len(engine.summed_up) == 1


def test_the_prompt_of_a_summary_begins_as_the_prompts_of_its_turns_did(bench: Bench, engine: Summariser) -> None:
    talk_until_the_window_moves(bench)
    begun = engine.asked[0].removesuffix("<bot>:")
    assert engine.summed_up[0].startswith(begun)  # whose keys and values are there already


def test_a_second_summary_goes_on_from_the_first(bench: Bench, engine: Summariser) -> None:
    talk_until_the_window_moves(bench)
    engine.summary = "Mirabel talks about nothing."
    talk_until_the_window_moves(bench, times=1)
    deadline = time.monotonic() + WAIT_S
    while len(engine.summed_up) < 2:
        bench.ask("And so on, and so on, and so on, for ever and ever.")
        settle(bench)
        assert time.monotonic() < deadline
    assert SUMMARY in engine.summed_up[1]
    assert session(bench).summary == "Mirabel talks about nothing."


def test_no_turn_waits_for_a_summary(bench: Bench, engine: Summariser) -> None:
    engine.may.clear()
    for number in range(60):
        assert bench.ask(f"This is remark {number} of a long conversation about nothing.").finish_reason == "stop"
    assert len(engine.summed_up) == 1  # of one conversation, one at a time
    assert session(bench).summary == ""
    engine.may.set()
    settle(bench)
    assert session(bench).summary == SUMMARY


def test_a_turn_that_was_loaded_before_a_summary_was_kept_asks_for_no_other(bench: Bench, engine: Summariser) -> None:
    engine.may.clear()
    deadline = time.monotonic() + WAIT_S
    while not engine.summed_up:
        bench.ask("This is a remark of a long conversation about nothing.")
        assert time.monotonic() < deadline

    def end_the_summary() -> None:
        engine.may.set()
        settle(bench)

    bench.rows.before["replace_open"] = end_the_summary
    bench.ask("This is one more.")
    settle(bench)
    assert len(engine.summed_up) == 1
    assert session(bench).summary == SUMMARY


def test_a_summary_that_the_policy_blocks_is_not_kept_and_is_tried_again(bench: Bench, engine: Summariser) -> None:
    engine.summary = "BAD words."
    talk_until_the_window_moves(bench)
    assert len(engine.summed_up) == 1
    assert session(bench).summary == ""
    engine.summary = SUMMARY
    bench.ask("Go on.")
    settle(bench)
    assert session(bench).summary == SUMMARY


def test_an_engine_that_fails_costs_the_summary_alone(bench: Bench, engine: Summariser) -> None:
    start = engine.start

    def fail(request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        if request.request_id.startswith("summary-"):
            raise RuntimeError("broken")
        start(request, deliver)

    engine.start = fail  # type: ignore[method-assign]
    talk_until_the_window_moves(bench)
    assert session(bench).summary == ""
    engine.start = start  # type: ignore[method-assign]
    bench.ask("Go on.")
    settle(bench)
    assert session(bench).summary == SUMMARY


def test_without_the_setting_nothing_is_summed_up(engine: Summariser) -> None:
    bench = Bench(engine)
    talk_until_the_window_moves(bench)
    assert engine.summed_up == []


def test_erasing_a_turn_erases_what_summaries_say_of_it(bench: Bench) -> None:
    talk_until_the_window_moves(bench)
    assert bench.store.delete_turn("s", session(bench).turns[-1].turn + 5) is False
    assert bench.store.delete_turn("s", 1)
    assert session(bench).summary == ""
    assert SUMMARY not in str(bench.stored())


def test_a_turn_that_is_erased_while_it_is_summed_up_is_in_no_summary(bench: Bench, engine: Summariser) -> None:
    engine.may.clear()
    deadline = time.monotonic() + WAIT_S
    while not engine.summed_up:
        bench.ask("This is a remark of a long conversation about nothing.")
        assert time.monotonic() < deadline
    assert bench.store.delete_turn("s", 1)
    engine.may.set()
    settle(bench)
    assert session(bench).summary == ""


def test_a_question_that_needs_the_room_goes_before_a_summary(bench: Bench, engine: Summariser) -> None:
    engine.summary = "word " * 40
    talk_until_the_window_moves(bench)
    assert len(session(bench).summary) > 100
    tokenizer = chat_tokenizer("ordinary")
    room = 512 - 16 - len(tokenizer.encode(engine.asked[0].split("<human>")[0]))
    question = "no" + " no" * (room - 30)
    assert bench.ask(question).finish_reason == "stop"
    assert "What was said before" not in engine.asked[-1]


def test_a_summary_and_what_a_reader_thinks_of_its_turn_are_both_kept(bench: Bench) -> None:
    talk_until_the_window_moves(bench)
    last = session(bench).turns[-1].turn
    assert bench.store.give_feedback("s", last, Feedback("up"))
    assert (session(bench).summary, session(bench).turns[-1].feedback) == (SUMMARY, Feedback("up"))
