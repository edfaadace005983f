"""Whatever a turn waits for: its client hears of it, and it ends by its deadline and with the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from server.chat.records.turn_records import KeepAlive, Session, TextPiece, TurnResult
from server.chat.store.rows import RowState
from server.errors import ErrorCode, ServiceError
from server.retrieval.retriever import Passage
from tests.unit.chat.turn_bench import WAIT_S, Bench, request
from tests.unit.chat.turn_doubles import Index, Judge


class Slow:
    """Something that does not answer until it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.goes_on = threading.Event()

    def __call__(self) -> list[Passage]:
        self.begun.set()
        assert self.goes_on.wait(WAIT_S)
        return []


class SlowJudge(Judge):
    """One that thinks it over."""

    def __init__(self, slow: Slow) -> None:
        super().__init__()
        self._slow = slow

    def judge(self, *arguments: object, **more: object) -> list[object]:  # type: ignore[override]
        self._slow()
        return super().judge(*arguments, **more)  # type: ignore[arg-type]


def load(bench: Bench, slow: Slow) -> None:
    bench.rows.before["newest"] = slow


def claim(bench: Bench, slow: Slow) -> None:
    bench.rows.before["put_if_free"] = slow


def judge(bench: Bench, slow: Slow) -> None:
    bench.use(SlowJudge(slow))


def search(bench: Bench, slow: Slow) -> None:
    bench.index = Index(slow)
    bench.use(bench.judge)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alives that the tests need not wait for."""
    monkeypatch.setattr("server.chat.turn_waits.KEEP_ALIVE_S", 0.1)


PHASES = [load, claim, judge, search]
Phase = Callable[[Bench, Slow], None]


@pytest.mark.parametrize("phase", PHASES)
def test_a_stream_hears_that_it_is_waited_for_before_anything_else(phase: Phase) -> None:
    bench, slow = Bench(), Slow()
    phase(bench, slow)
    events = bench.turns.stream(request("Is it so?"))
    assert isinstance(next(events), KeepAlive)
    slow.goes_on.set()
    *rest, last = [event for event in events if not isinstance(event, KeepAlive)]
    assert isinstance(last, TurnResult)
    assert last.outputs == "".join(each.text for each in rest if isinstance(each, TextPiece)) == "It is so."
    assert [turn.user for turn in bench.stored()] == ["Is it so?"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("streams", [False, True])
def test_the_end_of_the_server_reaches_a_turn_before_its_reply_begins(phase: Phase, streams: bool) -> None:
    bench, slow = Bench(), Slow()
    phase(bench, slow)
    threading.Thread(target=lambda: slow.begun.wait(WAIT_S) and bench.turns.end_all()).start()
    with pytest.raises(ServiceError) as caught:
        list(bench.turns.stream(request("Hi"))) if streams else bench.ask("Hi")
    assert caught.value.code is ErrorCode.SHUTTING_DOWN
    assert not bench.engine.started
    slow.goes_on.set()


@pytest.mark.parametrize("phase", [load, claim, judge])
def test_a_deadline_holds_whatever_is_slow(phase: Phase) -> None:
    bench, slow = Bench(), Slow()
    phase(bench, slow)
    error = bench.refusal("Hi", deadline_s=0.3)
    assert error.code is ErrorCode.DEADLINE
    assert not bench.engine.started
    slow.goes_on.set()


def test_a_search_that_is_slow_leaves_time_for_an_answer_without_sources() -> None:
    bench, slow = Bench(), Slow()
    search(bench, slow)
    result = bench.ask("Hi", deadline_s=4.0)
    assert (result.outputs, result.sources) == ("It is so.", ())
    slow.goes_on.set()


@pytest.mark.parametrize("leaves", [False, True])
def test_a_claim_that_comes_when_nobody_waits_any_more_is_given_back(leaves: bool) -> None:
    bench, slow = Bench(), Slow()
    claim(bench, slow)
    if leaves:
        events = bench.turns.stream(request("Hi"))
        assert isinstance(next(events), KeepAlive)
        events.close()  # type: ignore[attr-defined]
    else:
        bench.refusal("Hi", deadline_s=0.3)
    assert slow.begun.is_set()
    bench.rows.before.clear()
    slow.goes_on.set()
    deadline = time.monotonic() + WAIT_S
    while "remove_open" not in bench.rows.calls:
        assert time.monotonic() < deadline, "the claim is kept"
        time.sleep(0.01)
    assert bench.ask("And now?").turn == 1


def test_a_turn_that_cannot_be_written_down_in_time_is_no_answer_and_may_be_asked_again() -> None:
    bench, slow = Bench(), Slow()
    bench.rows.before["replace_open"] = slow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.chat.turn._STORE_GRACE_S", 0.1)
        error = bench.refusal("Hi", deadline_s=0.3)
    assert error.code is ErrorCode.DEADLINE
    slow.goes_on.set()


def test_a_reply_that_is_being_written_down_is_not_lost_to_the_end_of_the_server() -> None:
    bench, slow = Bench(), Slow()
    bench.rows.before["replace_open"] = slow
    threading.Thread(target=lambda: (slow.begun.wait(WAIT_S), bench.turns.end_all(), slow.goes_on.set())).start()
    assert bench.ask("Hi").outputs == "It is so."
    assert [turn.reply for turn in bench.stored()] == ["It is so."]


def test_a_client_that_leaves_while_the_store_is_slow_is_noticed() -> None:
    bench, slow = Bench(), Slow()
    load(bench, slow)
    with pytest.raises(ServiceError) as caught:
        bench.turns.answer(request("Hi"), has_left=lambda: True)
    assert caught.value.code is ErrorCode.CANCELLED
    slow.goes_on.set()


def test_a_busy_session_is_waited_for_with_keep_alives() -> None:
    bench = Bench(session_wait_s=WAIT_S)
    held = bench.store.claim(Session("s", 1.0), "another front")
    events = bench.turns.stream(request("Hi"))
    assert isinstance(next(events), KeepAlive)
    bench.store.release(held)
    *_, last = events
    assert isinstance(last, TurnResult)
    assert bench.rows.newest("s", 1)[0].state is RowState.DONE
