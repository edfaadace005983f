"""What one key may take: rates that fill up again, places, reservations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ErrorCode, ServiceError
from server.web.keys.key_file import ApiKey, digest_of
from server.web.keys.share import Share
from server.web.keys.token_bucket import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def share(clock: Clock, **limits: float) -> Share:
    return Share(ApiKey("alice", digest_of("secret"), **limits), clock)  # type: ignore[arg-type]


def wait_of(caught: pytest.ExceptionInfo[ServiceError]) -> float | None:
    assert caught.value.code is ErrorCode.RATE_LIMITED
    return caught.value.retry_after_s


def test_a_minutes_requests_may_come_at_once_and_the_next_is_told_when() -> None:
    clock = Clock()
    limited = share(clock, requests_per_minute=6)
    for _ in range(6):
        limited.enter()
    with pytest.raises(ServiceError) as caught:
        limited.enter()
    assert wait_of(caught) == 10.0
    clock.now += 10.0
    limited.enter()


def test_places_are_given_back() -> None:
    limited = share(Clock(), concurrent=2)
    limited.enter()
    limited.enter()
    with pytest.raises(ServiceError, match="2 requests are at work, of 2 at once"):
        limited.enter()
    limited.leave()
    limited.enter()


def test_what_a_reservation_did_not_use_is_there_again() -> None:
    limited = share(Clock(), tokens_per_minute=1000)
    reserved = limited.reserve(900)
    with pytest.raises(ServiceError) as caught:
        limited.reserve(400)
    assert wait_of(caught) == 18.0  # 300 tokens are missing
    limited.settle(reserved, 100)
    assert limited.reserve(400) == 400


def test_a_request_for_more_than_a_minute_gives_is_let_in_once_nothing_was_taken_and_paid_for_later() -> None:
    clock = Clock()
    limited = share(clock, tokens_per_minute=1000)
    reserved = limited.reserve(5000)
    assert reserved == 1000
    limited.settle(reserved, 3000)
    clock.now += 119.0
    with pytest.raises(ServiceError):
        limited.reserve(1)
    clock.now += 1.5
    limited.reserve(1)


def test_new_limits_take_the_place_of_the_old_without_a_fresh_minute() -> None:
    clock = Clock()
    limited = share(clock, requests_per_minute=2)
    limited.enter()
    limited.enter()
    limited.adopt(ApiKey("alice", digest_of("secret"), requests_per_minute=60))
    with pytest.raises(ServiceError):
        limited.enter()
    clock.now += 1.0
    limited.enter()
    limited.adopt(ApiKey("alice", digest_of("secret")))
    for _ in range(100):
        limited.enter()


@given(
    rate=st.floats(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 90), st.floats(0, 400), st.floats(0, 1)), max_size=40),
)
def test_no_span_of_time_gives_more_than_its_rate_and_one_minute_in_advance(
    rate: float, steps: list[tuple[float, float, float]]
) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, clock)
    used = 0.0
    for wait_s, wanted, share_used in steps:
        clock.now += wait_s
        if bucket.take(wanted) == 0.0:
            taken = min(wanted, rate)
            bucket.give_back(taken * (1 - share_used))
            used += taken * share_used
        assert used <= rate * (1 + (clock.now - 100.0) / 60.0) * (1 + 1e-9) + 1e-6


@given(rate=st.floats(1, 1000), taken=st.floats(0, 1000), wanted=st.floats(0.1, 1000))
def test_after_the_wait_that_it_names_a_request_is_let_in(rate: float, taken: float, wanted: float) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, clock)
    bucket.take(taken)
    wait_s = bucket.take(wanted)
    if wait_s:
        clock.now += wait_s + 1e-3
        assert bucket.take(wanted) == 0.0
