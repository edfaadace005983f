"""The orderly end: refuse new work, finish what fits in the drain time, end the rest in-band."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from server.web.limits.concurrency import ConcurrencyLimit

log = logging.getLogger(__name__)

_ENDING_S = 3.0  # of the drain time, kept for judging and storing the replies that are cut short
_LAST_WORDS_S = 0.5  # of that, for the in-band error of a stream whose turn did not end by itself


class Drain:
    """Drains once; every other call of `run` waits for nothing and does nothing."""

    def __init__(self, concurrency: ConcurrencyLimit, end_turns: Callable[[], None], timeout_s: float) -> None:
        """`end_turns` asks the turns under way to end with what they have."""
        self._concurrency = concurrency
        self._end_turns = end_turns
        self._ending_s = min(_ENDING_S, timeout_s / 4)
        self._last_words_s = min(_LAST_WORDS_S, timeout_s / 8)
        self._timeout_s = timeout_s
        self._overdue = threading.Event()
        self._begun = threading.Lock()

    @property
    def overdue(self) -> bool:
        """Whether a stream that is still open must end now, with an in-band error."""
        return self._overdue.is_set()

    def run(self) -> None:
        """Drain; returns when nobody is at work or the drain time is over, whichever is first."""
        if not self._begun.acquire(blocking=False):
            return
        self._concurrency.close()
        log.info("drain.begin requests=%d timeout_s=%g", self._concurrency.num_inside, self._timeout_s)
        drained = self._concurrency.wait_empty(self._timeout_s - self._ending_s)
        if not drained:
            self._end_turns()
            drained = self._concurrency.wait_empty(self._ending_s - self._last_words_s)
        if not drained:
            self._overdue.set()
            drained = self._concurrency.wait_empty(self._last_words_s)
        log.info("drain.end left=%d", self._concurrency.num_inside)
