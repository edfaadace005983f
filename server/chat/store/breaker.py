"""A store that fails is left alone for a while: nobody waits in vain for what the last ones have waited for in vain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

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


class BreakingRows:
    """`Rows` behind a breaker."""

    def __init__(self, rows: Rows, breaker: Breaker | None = None) -> None:
        self._rows = rows
        self.breaker = breaker or Breaker()

    def check(self) -> None:
        """See `Rows.check`."""
        self._rows.check()

    def newest(self, session_id: str, limit: int) -> list[Row]:
        """See `Rows.newest`."""
        return self.breaker.call(lambda: self._rows.newest(session_id, limit))

    def oldest_first(self, session_id: str, after: int = -1) -> Iterator[Row]:
        """See `Rows.oldest_first`."""
        rows = self._rows.oldest_first(session_id, after)
        while (row := self.breaker.call(lambda: next(rows, None))) is not None:
            yield row

    def get(self, session_id: str, turn: int) -> Row | None:
        """See `Rows.get`."""
        return self.breaker.call(lambda: self._rows.get(session_id, turn))

    def put_if_free(self, row: Row, now: float) -> bool:
        """See `Rows.put_if_free`."""
        return self.breaker.call(lambda: self._rows.put_if_free(row, now))

    def replace_open(self, row: Row, token: str) -> bool:
        """See `Rows.replace_open`."""
        return self.breaker.call(lambda: self._rows.replace_open(row, token))

    def replace_done(self, row: Row) -> bool:
        """See `Rows.replace_done`."""
        return self.breaker.call(lambda: self._rows.replace_done(row))

    def remove_done(self, session_id: str, turn: int) -> bool:
        """See `Rows.remove_done`."""
        return self.breaker.call(lambda: self._rows.remove_done(session_id, turn))

    def remove_open(self, session_id: str, turn: int, token: str) -> bool:
        """See `Rows.remove_open`."""
        return self.breaker.call(lambda: self._rows.remove_open(session_id, turn, token))

    def remove_expired(self, session_id: str, now: float) -> None:
        """See `Rows.remove_expired`."""
        self.breaker.call(lambda: self._rows.remove_expired(session_id, now))

    def remove_all(self, session_id: str) -> None:
        """See `Rows.remove_all`."""
        self.breaker.call(lambda: self._rows.remove_all(session_id))

    def close(self) -> None:
        """See `Rows.close`."""
        self._rows.close()
