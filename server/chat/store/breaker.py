"""A store that fails is left alone for a while: nobody waits in vain for what the last ones have waited for in vain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from server.chat.store.rows import Row, Rows
from server.errors import ErrorCode, ServiceError

log = logging.getLogger(__name__)

T = TypeVar("T")

_FAILURES = 3  # in a row that open the breaker
_OPEN_S = 1.0
SLOW_S = 5.0  # a call that takes longer has failed its caller, whatever it brings


class Breaker:
    """Lets calls through until some have failed in a row; then for a while none, and then one that tries. Thread-safe.

    Only STORE_UNAVAILABLE counts as a failure, and an answer that took longer than `SLOW_S`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._num_failures = 0
        self._closed_again_at = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the last calls have failed, and none has succeeded since."""
        return self._num_failures >= _FAILURES

    def call(self, function: Callable[[], T]) -> T:
        """What `function` gives.

        Raises:
            ServiceError: STORE_UNAVAILABLE at once while the breaker is open; what `function` raises.
        """
        self._refuse_while_open()
        started = self._clock()
        try:
            found = function()
        except ServiceError as error:
            self._note(failed=error.code is ErrorCode.STORE_UNAVAILABLE)
            raise
        self._note(failed=self._clock() - started > SLOW_S)
        return found

    def _refuse_while_open(self) -> None:
        with self._lock:
            now = self._clock()
            if not self.is_open:
                return
            left_s = self._closed_again_at - now
            if left_s <= 0:
                self._closed_again_at = now + _OPEN_S  # this call tries; the others go on being refused
                return
        raise ServiceError(
            ErrorCode.STORE_UNAVAILABLE,
            "the conversation store has failed several times in a row, and is left alone for a second",
            retry_after_s=max(1.0, round(left_s, 1)),
        )

    def _note(self, *, failed: bool) -> None:
        with self._lock:
            was_open, self._num_failures = self.is_open, self._num_failures + 1 if failed else 0
            if failed:
                self._closed_again_at = self._clock() + _OPEN_S
        if was_open != self.is_open:
            log.warning("store.%s failures=%d", "left_alone" if failed else "back", self._num_failures)


def behind(breaker: Breaker, rows: Rows) -> Rows:
    """`rows`, asked through `breaker`."""
    return cast(Rows, _BreakingRows(breaker, rows))


class _BreakingRows:
    """Every call goes through the breaker, but for the one that prepares the database and the one that leaves it."""

    def __init__(self, breaker: Breaker, rows: Rows) -> None:
        self._breaker = breaker
        self._rows = rows
        self.check, self.close = rows.check, rows.close

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._rows, name)
        return lambda *arguments, **more: self._breaker.call(lambda: method(*arguments, **more))

    def oldest_first(self, session_id: str, after: int = -1) -> Iterator[Row]:
        """See `Rows.oldest_first`: each page is a call."""
        rows = self._rows.oldest_first(session_id, after)
        while (row := self._breaker.call(lambda: next(rows, None))) is not None:
            yield row
