"""Lists are answered side by side, whatever their lengths."""

from __future__ import annotations

import threading

import pytest

from server.web.limits.list_pool import ListPool


def test_a_short_list_behind_a_long_one_is_answered_beside_it() -> None:
    pool, order, goes_on = ListPool(2), [], threading.Event()

    def work(name: str) -> str:
        assert goes_on.wait(30)
        order.append(name)
        return name

    long = pool.submit([lambda number=number: work(f"long {number}") for number in range(40)])  # type: ignore[misc]
    short = pool.submit([lambda: work("short 1"), lambda: work("short 2")])
    goes_on.set()
    assert [future.result(30) for future in short] == ["short 1", "short 2"]
    assert [future.result(30) for future in long] == [f"long {number}" for number in range(40)]
    assert max(order.index("short 1"), order.index("short 2")) < 10


def test_a_list_alone_has_every_thread() -> None:
    pool, together = ListPool(4), threading.Barrier(4)
    assert [future.result(30) >= 0 for future in pool.submit([lambda: together.wait(30)] * 4)] == [True] * 4


def test_what_goes_wrong_is_its_own_input_s() -> None:
    def fail() -> int:
        raise ValueError("no")

    first, second, third = ListPool(1).submit([lambda: 1, fail, lambda: 3])
    assert (first.result(30), third.result(30)) == (1, 3)
    with pytest.raises(ValueError, match="no"):
        second.result(30)
