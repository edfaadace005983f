"""Whose turn it is, when some ask for much and others for little."""

from __future__ import annotations

from itertools import count


class Turns:
    """Numbers for those who queue, the lowest first (start-time fair queueing: Goyal, Vin and Cheng 1996).

    Requests of one caller have rising numbers, however many come at once; one of another caller has the next number, so
    that it stands before all but one of them. Requests with one number go in the order in which they came.
    """

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[str, int] = {}
        self._order = count()

    def take(self, caller: str) -> tuple[int, int]:
        """A place in the queue, to be compared with other places; without a name a caller is like no other."""
        number = max(self._now, self._last.get(caller, 0)) + 1
        if caller:
            self._last[caller] = number
        return number, next(self._order)

    def serve(self, turn: tuple[int, int]) -> None:
        """Whoever has `turn` is served: who comes now comes after it."""
        if turn[0] > self._now:
            self._now = turn[0]
            self._last = {caller: number for caller, number in self._last.items() if number > self._now}
