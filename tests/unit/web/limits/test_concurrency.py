from __future__ import annotations

import threading

import pytest

from server.errors import ErrorCode, ServiceError
from server.web.limits.concurrency import Door, admission_limit
from server.web.limits.drain import Drain


@pytest.mark.parametrize(("threads", "limit"), [(4, 2), (5, 3), (16, 8), (17, 9), (64, 56)])
def test_up_to_eight_threads_are_kept_for_ping_and_refusals(threads: int, limit: int) -> None:
    assert admission_limit(threads) == limit


def test_the_door_lets_in_as_many_as_its_limit() -> None:
    door = Door(2)
    first, second = door.enter(), door.enter()
    with pytest.raises(ServiceError) as caught:
        door.enter()
    assert caught.value.code is ErrorCode.QUEUE_FULL
    assert caught.value.retry_after_s is not None
    first.leave()
    first.leave()
    assert door.num_inside == 1
    door.enter()
    second.leave()
    assert door.num_inside == 1


def test_a_closed_door_lets_nobody_in() -> None:
    door = Door(2)
    door.close()
    with pytest.raises(ServiceError) as caught:
        door.enter()
    assert caught.value.code is ErrorCode.SHUTTING_DOWN


def test_a_drain_ends_when_the_last_one_leaves() -> None:
    door, ended = Door(2), []
    ticket = door.enter()
    drain = Drain(door, lambda: ended.append(True), timeout_s=60)
    thread = threading.Thread(target=drain.run)
    thread.start()
    ticket.leave()
    thread.join(30)
    assert not thread.is_alive()
    assert not drain.overdue
    assert ended == []


def test_after_its_time_a_drain_ends_the_turns_and_then_the_streams() -> None:
    door = Door(2)
    ticket = door.enter()
    ended = threading.Event()
    drain = Drain(door, ended.set, timeout_s=0.4)
    drain.run()
    assert ended.is_set()
    assert drain.overdue
    ticket.leave()


def test_turns_that_end_when_asked_are_not_overdue() -> None:
    door = Door(2)
    ticket = door.enter()
    drain = Drain(door, ticket.leave, timeout_s=0.4)
    drain.run()
    assert not drain.overdue


def test_a_second_drain_does_nothing() -> None:
    door, ended = Door(2), []
    door.enter()
    drain = Drain(door, lambda: ended.append(True), timeout_s=0.1)
    drain.run()
    drain.run()
    assert ended == [True]
