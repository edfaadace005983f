"""How many requests are at work at once, and none once the server is shutting down."""

from __future__ import annotations

import threading

from server.errors import ErrorCode, ServiceError
from server.web.limits.table import RETRY_AFTER_S, SPARE_THREADS


def admission_limit(threads: int) -> int:
    """How many of a front's threads may work; the rest keep /ping, /metrics and refusals answerable."""
    return threads - min(SPARE_THREADS, threads // 2)


class Ticket:
    """One admitted request; `leave` may be called more than once."""

    def __init__(self, concurrency: ConcurrencyLimit) -> None:
        self._concurrency = concurrency
        self._inside = True

    def leave(self) -> None:
        """Make room for another request."""
        if self._inside:
            self._inside = False
            self._concurrency._leave()


class ConcurrencyLimit:
    """Counts the requests at work."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._inside = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def num_inside(self) -> int:
        """Requests at work now."""
        return self._inside

    @property
    def closed(self) -> bool:
        """Whether the server is shutting down."""
        return self._closed

    def enter(self) -> Ticket:
        """Take a place.

        Raises:
            ServiceError: QUEUE_FULL when all are taken, SHUTTING_DOWN after `close`.
        """
        with self._changed:
            if self._closed:
                raise ServiceError(ErrorCode.SHUTTING_DOWN, "the server is shutting down", retry_after_s=RETRY_AFTER_S)
            if self._inside >= self.limit:
                message = f"{self._inside} requests are at work, which is the limit"
                raise ServiceError(ErrorCode.QUEUE_FULL, message, retry_after_s=RETRY_AFTER_S)
            self._inside += 1
        return Ticket(self)

    def close(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            self._closed = True

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until nobody is inside; False when somebody still is after `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout_s)

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            assert self._inside >= 0, self._inside
            self._changed.notify_all()
