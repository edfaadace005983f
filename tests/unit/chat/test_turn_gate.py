"""A turn that would wait longer than anybody waits is refused before anything is done for it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from server.chat.turn_gate import TurnGate
from server.errors import ErrorCode, ServiceError
from server.wire import Status, Welcome


class Engine:
    """What a gate knows of a group."""

    def __init__(self, interval_s: float, max_running: int = 4) -> None:
        self.welcome: Welcome | None = Welcome({}, 1, "bfloat16", max_queue=128, max_running=max_running)
        numbers = dict.fromkeys(("num_running", "num_waiting", "num_waiting_tokens", "steps", "preemptions"), 0)
        totals = dict.fromkeys(("generated_tokens", "prefilled_tokens", "cached_tokens"), 0)
        self.status: Status | None = Status(
            **numbers, **totals, free_blocks={}, total_blocks={}, step_seconds=0.0, reply_interval_s=interval_s
        )


def let_in(gate: TurnGate, stack: ExitStack, count: int, deadline_s: float = 60.0, owner: str = "") -> int:
    """How many of `count` turns get in; they stay for as long as `stack`."""
    for number in range(count):
        try:
            stack.enter_context(gate.inside(deadline_s, owner))
        except ServiceError as error:
            refusal = error
        else:
            continue
        assert refusal.code is ErrorCode.QUEUE_FULL
        assert 1 <= (refusal.retry_after_s or 0) <= 60
        return number
    return count


def test_as_many_wait_as_the_engine_gets_to_in_the_time_that_is_waited() -> None:
    gate = TurnGate(Engine(interval_s=0.5), longest_wait_s=3.0)
    with ExitStack() as stack:
        assert let_in(gate, stack, 100) == 4 + 6
        assert gate.expected_wait_s() == 3.5
    assert gate.expected_wait_s() == 0.0


def test_half_of_a_short_deadline_is_kept_for_the_reply() -> None:
    with ExitStack() as stack:
        assert let_in(TurnGate(Engine(interval_s=0.5), longest_wait_s=100.0), stack, 100, deadline_s=4.0) == 4 + 4


def test_the_refusal_says_how_long_it_would_have_been() -> None:
    gate = TurnGate(Engine(interval_s=2.0, max_running=1), longest_wait_s=3.0)
    with gate.inside(60.0), gate.inside(60.0), pytest.raises(ServiceError) as caught, gate.inside(60.0):
        pass
    assert "2 turns are under way, and a reply would begin in about 4.0 s; at most 3.0 s" in caught.value.message
    assert caught.value.retry_after_s == 1.0


def test_where_the_pace_or_the_group_is_not_known_everybody_is_let_in() -> None:
    unknown, gone, silent = Engine(interval_s=0.0), Engine(1.0), Engine(1.0)
    gone.welcome, silent.status = None, None
    for engine in (unknown, gone, silent):
        with ExitStack() as stack:
            assert let_in(TurnGate(engine, longest_wait_s=1.0), stack, 50) == 50


def test_a_queue_that_stands_is_kept_short_and_a_burst_may_wait() -> None:
    now = [0.0]
    gate = TurnGate(Engine(interval_s=0.5, max_running=8), longest_wait_s=10.0, clock=lambda: now[0])
    with ExitStack() as stack:
        assert let_in(gate, stack, 18) == 18
        now[0] += 6.0
        assert let_in(gate, stack, 1) == 0, "at most a quarter of the eight that run may wait now"
    with ExitStack() as stack:
        assert let_in(gate, stack, 18) == 18, "the queue was empty in between"
    with ExitStack() as stack:
        assert let_in(gate, stack, 9) == 9
        now[0] += 6.0
        assert let_in(gate, stack, 9) == 1
        now[0] += 60.0
        assert let_in(gate, stack, 9) == 0


def test_an_owner_with_less_than_its_part_is_let_in_where_others_have_more() -> None:
    now = [0.0]
    gate = TurnGate(Engine(interval_s=1.0, max_running=8), longest_wait_s=0.5, clock=lambda: now[0])
    with ExitStack() as stack:
        assert let_in(gate, stack, 20, owner="greedy") == 8
        assert let_in(gate, stack, 20, owner="other") == 4
        assert let_in(gate, stack, 20, owner="third") == 2
        assert let_in(gate, stack, 20) == 0
        assert let_in(gate, stack, 20, owner="greedy") == 0


def test_who_would_be_refused_is_known_before_anything_is_done() -> None:
    gate = TurnGate(Engine(interval_s=0.5), longest_wait_s=0.4)
    with ExitStack() as stack:
        assert gate.refusal(60.0, "alice") is None
        assert let_in(gate, stack, 4, owner="alice") == 4
        assert gate.refusal(60.0, "alice") is not None
        assert gate.refusal(60.0, "bob") is None, "bob has less than his share"
        assert gate.refusal(60.0) is not None
