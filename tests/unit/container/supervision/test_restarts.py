from __future__ import annotations

import pytest

from container.supervision.restarts import NoRestart, RestartBudget
from tests.unit.container.still_clock import Clock


@pytest.fixture
def budget(clock: Clock) -> RestartBudget:
    return RestartBudget(limit=3, window_s=600, clock=clock)


def has_one(budget: RestartBudget, *, was_ready: bool) -> bool:
    try:
        budget.take(was_ready=was_ready)
    except NoRestart:
        return False
    return True


def test_a_budget_is_used_up_within_its_window_and_comes_back_after_it(budget: RestartBudget, clock: Clock) -> None:
    taken = []
    for clock.now in (0, 100, 200, 300, 599.9, 600, 650, 700):
        taken.append(has_one(budget, was_ready=True))
    assert taken == [True, True, True, False, False, True, False, True]


def test_the_window_s_rule_says_its_numbers(budget: RestartBudget) -> None:
    for _ in range(3):
        budget.take(was_ready=True)
    with pytest.raises(NoRestart, match=r"^3 in 600 s are used up$"):
        budget.take(was_ready=True)


def test_the_third_attempt_in_a_row_that_never_became_ready_is_the_last_however_slow(
    budget: RestartBudget, clock: Clock
) -> None:
    for clock.now in (0, 3600):
        budget.take(was_ready=False)
    clock.now = 7200
    with pytest.raises(NoRestart, match=r"^3 attempts in a row never became ready$"):
        budget.take(was_ready=False)


def test_an_attempt_that_became_ready_begins_the_row_anew(budget: RestartBudget, clock: Clock) -> None:
    taken = []
    for number, was_ready in enumerate([False, False, True, False, False, False]):
        clock.now = number * 1000
        taken.append(has_one(budget, was_ready=was_ready))
    assert taken == [True, True, True, True, True, False]
