"""How many requests are at work at once, of all and of each caller, and none once the server is shutting down."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from server.errors import ErrorCode, ServiceError
from server.web.limits.table import (
    LEAST_SIDE_PLACES,
    RETRY_AFTER_S,
    SHARED_PLACES,
    SIDE_SHARE,
    SPARE_THREADS,
    WANTED_FOR_S,
)


def admission_limit(threads: int) -> int:
    """How many of a front's threads may work; the rest keep /ping, /metrics and refusals answerable."""
    return threads - min(SPARE_THREADS, threads // 2)


class Ticket:
    """One admitted request; `leave` may be called more than once."""

    def __init__(self, concurrency: ConcurrencyLimit, caller: str, route: str) -> None:
        self._concurrency = concurrency
        self._caller, self._route = caller, route
        self._inside = True

    def leave(self) -> None:
        """Make room for another request."""
        if self._inside:
            self._inside = False
            self._concurrency._leave(self._caller, self._route)


class ConcurrencyLimit:
    """Counts the requests at work.

    Callers with names share the places: when few are left, those go to callers that have less than an even share of
    all, among the callers that are inside or were refused a moment ago. A side route, which is not for turns, has a
    part of the places at most, so that whatever is asked there, turns get in.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._inside = 0
        self._of_caller: Counter[str] = Counter()
        self._of_route: Counter[str] = Counter()
        self._refused_at: dict[str, float] = {}
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

    @property
    def is_crowded(self) -> bool:
        """Whether somebody may be refused: so few places are left that those with names share them, or none is."""
        return self.limit - self._inside <= self.limit // SHARED_PLACES

    def refusal(self, caller: str = "") -> ServiceError | None:
        """What one more request of `caller` is told, which counts as refused then; None: it would be let in."""
        with self._changed:
            return self._refused(caller, "")

    def enter(self, caller: str = "", side_route: str = "") -> Ticket:
        """Take a place; without a name a caller is like no other.

        Raises:
            ServiceError: QUEUE_FULL when all are taken, or all that the caller or the route may have; SHUTTING_DOWN
                after `close`.
        """
        with self._changed:
            if self._closed:
                raise ServiceError(ErrorCode.SHUTTING_DOWN, "the server is shutting down", retry_after_s=RETRY_AFTER_S)
            if (error := self._refused(caller, side_route)) is not None:
                raise error
            self._inside += 1
            self._of_caller[caller] += 1
            self._of_route[side_route] += 1
        return Ticket(self, caller, side_route)

    def close(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            self._closed = True

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until nobody is inside; False when somebody still is after `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout_s)

    def _refused(self, caller: str, side_route: str) -> ServiceError | None:
        why = self._why_not(caller, side_route)
        if not why:
            return None
        self._refused_at |= {caller: self._clock()} if caller else {}
        return ServiceError(ErrorCode.QUEUE_FULL, why, retry_after_s=RETRY_AFTER_S)

    def _why_not(self, caller: str, side_route: str) -> str:
        """Why there is no place; empty where there is one."""
        if self._inside >= self.limit:
            return f"{self._inside} requests are at work, which is the limit"
        most = max(LEAST_SIDE_PLACES, self.limit // SIDE_SHARE)
        if side_route and self._of_route[side_route] >= most:
            return f"{self._of_route[side_route]} calls of {side_route} are at work; at most {most} may be"
        if caller and self.limit - self._inside <= self.limit // SHARED_PLACES:
            return self._unfair(caller)
        return ""

    def _unfair(self, caller: str) -> str:
        """Why the last places are not for this caller."""
        now = self._clock()
        self._refused_at = {each: at for each, at in self._refused_at.items() if now - at < WANTED_FOR_S}
        callers = {each for each in self._of_caller if each} | self._refused_at.keys() | {caller}
        share = max(1, self.limit // len(callers))
        if self._of_caller[caller] < share:
            return ""
        found = self._of_caller[caller]
        return f"{found} requests of this key are at work, its share of {self.limit} while {len(callers)} keys ask"

    def _leave(self, caller: str, route: str) -> None:
        with self._changed:
            self._inside -= 1
            for counts, name in ((self._of_caller, caller), (self._of_route, route)):
                counts[name] -= 1
                if not counts[name]:
                    del counts[name]
            assert self._inside >= 0, self._inside
            self._changed.notify_all()
