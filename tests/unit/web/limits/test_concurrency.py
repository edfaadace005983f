from __future__ import annotations

import threading

import pytest

from server.errors import ErrorCode, ServiceError
from server.web.limits.concurrency import ConcurrencyLimit, admission_limit
from server.web.limits.drain import Drain


@pytest.mark.parametrize(("threads", "limit"), [(4, 2), (5, 3), (16, 8), (17, 9), (64, 56)])
def test_up_to_eight_threads_are_kept_for_ping_and_refusals(threads: int, limit: int) -> None:
    assert admission_limit(threads) == limit


def test_the_door_lets_in_as_many_as_its_limit() -> None:
    concurrency = ConcurrencyLimit(2)
    first, second = concurrency.enter(), concurrency.enter()
    with pytest.raises(ServiceError) as caught:
        concurrency.enter()
    assert caught.value.code is ErrorCode.QUEUE_FULL
    assert caught.value.retry_after_s is not None
    first.leave()
    first.leave()
    assert concurrency.num_inside == 1
    concurrency.enter()
    second.leave()
    assert concurrency.num_inside == 1


def test_a_closed_door_lets_nobody_in() -> None:
    concurrency = ConcurrencyLimit(2)
    concurrency.close()
    with pytest.raises(ServiceError) as caught:
        concurrency.enter()
    assert caught.value.code is ErrorCode.SHUTTING_DOWN


def test_a_drain_ends_when_the_last_one_leaves() -> None:
    concurrency, ended = ConcurrencyLimit(2), []
    ticket = concurrency.enter()
    drain = Drain(concurrency, lambda: ended.append(True), timeout_s=60)
    thread = threading.Thread(target=drain.run)
    thread.start()
    ticket.leave()
    thread.join(30)
    assert not thread.is_alive()
    assert not drain.overdue
    assert ended == []


def test_after_its_time_a_drain_ends_the_turns_and_then_the_streams() -> None:
    concurrency = ConcurrencyLimit(2)
    ticket = concurrency.enter()
    ended = threading.Event()
    drain = Drain(concurrency, ended.set, timeout_s=0.4)
    drain.run()
    assert ended.is_set()
    assert drain.overdue
    ticket.leave()


def test_turns_that_end_when_asked_are_not_overdue() -> None:
    concurrency = ConcurrencyLimit(2)
    ticket = concurrency.enter()
    drain = Drain(concurrency, ticket.leave, timeout_s=0.4)
    drain.run()
    assert not drain.overdue


def test_a_second_drain_does_nothing() -> None:
    concurrency, ended = ConcurrencyLimit(2), []
    concurrency.enter()
    drain = Drain(concurrency, lambda: ended.append(True), timeout_s=0.1)
    drain.run()
    drain.run()
    assert ended == [True]
