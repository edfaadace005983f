"""A store that fails is left alone for a while, and found again when it is back."""

from __future__ import annotations

import threading
import time

import pytest

from server.chat.store.breaker import SLOW_S, Breaker, behind
from server.chat.store.memory import MemoryRows
from server.chat.store.rows import Row, Rows, RowState
from server.chat.store.store import Store
from server.chat.store.watch import StoreWatch
from server.errors import ErrorCode, ServiceError


class Faulty(MemoryRows):
    """Fails, or takes its time, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.takes_s = 0.0
        self.num_calls = 0
        self.now = 0.0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def get(self, session_id: str, turn: int) -> Row | None:
        self._suffer()
        return super().get(session_id, turn)

    def newest(self, session_id: str, limit: int) -> list[Row]:
        self._suffer()
        return super().newest(session_id, limit)

    def _suffer(self) -> None:
        self.num_calls += 1
        self.now += self.takes_s
        assert self.goes_on.wait(30)
        if self.fails:
            raise ServiceError(ErrorCode.STORE_UNAVAILABLE, "it is gone")


@pytest.fixture
def rows() -> Faulty:
    return Faulty()


@pytest.fixture
def breaker(rows: Faulty) -> Breaker:
    return Breaker(lambda: rows.now)


@pytest.fixture
def guarded(rows: Faulty, breaker: Breaker) -> Rows:
    return behind(breaker, rows)


def fail(guarded: Rows) -> str:
    with pytest.raises(ServiceError) as caught:
        guarded.get("a", 1)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    return caught.value.message


def test_after_three_failures_in_a_row_nobody_asks_until_one_has_tried(
    rows: Faulty, breaker: Breaker, guarded: Rows
) -> None:
    rows.fails = True
    for _ in range(3):
        assert fail(guarded) == "it is gone"
    assert "left alone" in fail(guarded)
    assert rows.num_calls == 3
    rows.now += 1.5
    assert fail(guarded) == "it is gone"
    assert "left alone" in fail(guarded)
    rows.now += 1.5
    rows.fails = False
    assert guarded.get("a", 1) is None
    assert not breaker.is_open
    assert guarded.get("a", 1) is None


def test_a_refusal_that_is_no_outage_is_no_failure(breaker: Breaker) -> None:
    def refuse() -> None:
        raise ServiceError(ErrorCode.SESSION_BUSY, "another request is at work on it")

    for _ in range(10):
        with pytest.raises(ServiceError, match="another request"):
            breaker.call(refuse)
    assert not breaker.is_open


def test_answers_that_come_too_late_are_failures(rows: Faulty, guarded: Rows) -> None:
    rows.takes_s = SLOW_S + 1
    for _ in range(3):
        assert guarded.get("a", 1) is None
    assert "left alone" in fail(guarded)


def test_rows_behind_a_breaker_are_the_same_rows(guarded: Rows) -> None:
    row = Row("a", 1, RowState.OPEN, 0.0, token="t")
    done = Row("a", 1, RowState.DONE, 0.0, token="t", record="{}")
    assert guarded.put_if_free(row, 1.0)
    assert guarded.replace_open(done, "t")
    assert guarded.replace_done(done)
    assert list(guarded.oldest_first("a")) == guarded.newest("a", 5) == [done]
    assert guarded.remove_done("a", 1)
    assert guarded.put_if_free(row, 1.0)
    assert guarded.remove_open("a", 1, "t")
    guarded.remove_expired("a", 1.0)
    guarded.remove_all("a")
    assert guarded.get("a", 1) is None


def test_a_watched_store_is_failing_while_it_fails_or_does_not_answer(rows: Faulty, guarded: Rows) -> None:
    watch = StoreWatch(Store(guarded, clock=time.time, session_ttl_s=0, session_lock_s=60), clock=lambda: rows.now)
    watch.ask()
    assert not watch.is_failing
    rows.fails = True
    watch.ask()
    assert watch.is_failing
    rows.fails = False
    watch.ask()
    assert not watch.is_failing
    rows.goes_on.clear()
    asking = threading.Thread(target=watch.ask)
    asking.start()
    while rows.num_calls < 4:
        time.sleep(0.001)
    assert not watch.is_failing
    rows.now += 2.0
    assert watch.is_failing
    rows.goes_on.set()
    asking.join()
    assert not watch.is_failing
