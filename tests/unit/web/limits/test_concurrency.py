from __future__ import annotations

import threading

import pytest

from server.errors import ErrorCode, ServiceError
from server.web.limits.concurrency import ConcurrencyLimit, admission_limit
from server.web.limits.drain import Drain
from server.web.limits.table import WANTED_FOR_S


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


def refused(concurrency: ConcurrencyLimit, caller: str = "", route: str = "") -> str:
    with pytest.raises(ServiceError) as caught:
        concurrency.enter(caller, route)
    assert caught.value.code is ErrorCode.QUEUE_FULL
    return caught.value.message


def test_a_caller_alone_may_have_every_place_until_another_one_asks() -> None:
    concurrency = ConcurrencyLimit(8)
    greedy = [concurrency.enter("greedy") for _ in range(8)]
    assert "8 requests are at work" in refused(concurrency, "other")
    for ticket in greedy[:2]:
        ticket.leave()
    assert "its share of 8 while 2 keys ask" in refused(concurrency, "greedy")
    concurrency.enter("other")
    concurrency.enter("other")
    assert concurrency.num_inside == 8


def test_places_are_shared_evenly_by_those_who_ask_all_the_time() -> None:
    concurrency = ConcurrencyLimit(12)
    inside = [("greedy", concurrency.enter("greedy")) for _ in range(12)]
    for number in range(200):  # whoever leaves, both ask at once, the greedy one first
        inside.pop(0)[1].leave()
        for caller in ("greedy", "other", "third")[: 2 + number % 2]:
            try:
                inside.append((caller, concurrency.enter(caller)))
            except ServiceError:
                continue
    counts = {caller: sum(each == caller for each, _ in inside) for caller in ("greedy", "other", "third")}
    assert max(counts.values()) - min(counts.values()) <= 2, counts


def test_who_asked_long_ago_is_not_waited_for() -> None:
    now = [0.0]
    concurrency = ConcurrencyLimit(4, clock=lambda: now[0])
    greedy = [concurrency.enter("greedy") for _ in range(4)]
    refused(concurrency, "other")
    greedy.pop().leave()
    refused(concurrency, "greedy")
    now[0] += WANTED_FOR_S + 1
    concurrency.enter("greedy")


def test_nobody_s_name_is_no_share() -> None:
    concurrency = ConcurrencyLimit(8)
    tickets = [concurrency.enter() for _ in range(8)]
    refused(concurrency, "other")
    tickets.pop().leave()
    concurrency.enter()


def test_a_side_route_leaves_places_to_the_others() -> None:
    concurrency = ConcurrencyLimit(56)
    tickets = [concurrency.enter(side_route="search") for _ in range(14)]
    assert "14 calls of search are at work; at most 14 may be" in refused(concurrency, "", "search")
    concurrency.enter(side_route="moderations")
    concurrency.enter()
    tickets.pop().leave()
    concurrency.enter(side_route="search")
