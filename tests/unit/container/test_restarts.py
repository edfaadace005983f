from __future__ import annotations

from container.restarts import RestartBudget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_is_used_up_within_its_window_and_comes_back_after_it() -> None:
    clock = Clock()
    budget = RestartBudget(limit=3, window_s=600, clock=clock)
    taken = []
    for clock.now in (0, 100, 200, 300, 599.9, 600, 650, 700):
        taken.append(budget.take())
    assert taken == [True, True, True, False, False, True, False, True]
