"""How often an engine group may be started again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class NoRestart(Exception):
    """The budget is used up; the sentence says by what."""


class RestartBudget:
    """At most `limit` restarts in any `window_s` seconds, and `limit` attempts in a row that never became ready.

    The second rule has no window: a model that loads for minutes would otherwise crash as it loads for ever.
    """

    def __init__(self, limit: int = 3, window_s: float = 600.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._taken: deque[float] = deque()
        self._num_unready = 0

    def take(self, *, was_ready: bool) -> None:
        """Use one restart, after an attempt that had become ready or had not. Raises NoRestart."""
        self._num_unready = 0 if was_ready else self._num_unready + 1
        if self._num_unready >= self._limit:
            raise NoRestart(f"{self._num_unready} attempts in a row never became ready")
        now = self._clock()
        while self._taken and now - self._taken[0] >= self._window_s:
            self._taken.popleft()
        if len(self._taken) >= self._limit:
            raise NoRestart(f"{self._limit} in {self._window_s:g} s are used up")
        self._taken.append(now)
