"""Which turns are let in: no more than the engine gets to while somebody still waits for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.engine.engine import Engine
from server.errors import ErrorCode, ServiceError

_LONGEST_SHARE = 0.5  # of a request's deadline; the rest is for its reply
_STANDING_S = 5.0  # a queue that has not been empty for so long is no burst, and longer waits give nobody more
_STANDING_SHARE = 0.25  # of the time that a reply takes while as many run as may: the longest wait then
_WANTED_FOR_S = 5.0  # after a refusal, somebody counts among those that share
_RETRY_S = (1.0, 60.0)


class TurnGate:
    """Counts the turns under way, and knows from the engine how often one ends. Thread-safe.

    Owners, which are the keys of a server that asks for keys, share what runs: one that has less than an even part of
    it is let in while the others have more.
    """

    def __init__(self, engine: Engine, longest_wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._longest_wait_s = longest_wait_s
        self._clock = clock
        self._num_inside = 0
        self._of_owner: Counter[str] = Counter()
        self._refused_at: dict[str, float] = {}
        self._waiting_since: float | None = None
        self._lock = threading.Lock()

    @contextmanager
    def inside(self, deadline_s: float, owner: str = "") -> Iterator[None]:
        """Let a turn in for as long as the block runs.

        Raises:
            ServiceError: QUEUE_FULL when its reply would have to wait too long, at the pace at which replies end now.
        """
        with self._lock:
            if (error := self._refused(deadline_s, owner)) is not None:
                raise error
            self._count(owner, 1)
        try:
            yield
        finally:
            with self._lock:
                self._count(owner, -1)

    def refusal(self, deadline_s: float, owner: str = "") -> ServiceError | None:
        """What one more turn of `owner` is told, which counts as refused then; None: it would be let in."""
        with self._lock:
            return self._refused(deadline_s, owner)

    def _refused(self, deadline_s: float, owner: str) -> ServiceError | None:
        wait_s = self.expected_wait_s()
        most_s = min(self._longest_wait_s, _LONGEST_SHARE * deadline_s, self._standing_wait_s())
        if wait_s <= most_s or self._is_owed(owner):
            return None
        self._refused_at |= {owner: self._clock()} if owner else {}
        message = (
            f"{self._num_inside} turns are under way, and a reply would begin in about {wait_s:.1f} s; at most "
            f"{most_s:.1f} s are waited for"
        )
        least, most = _RETRY_S
        return ServiceError(
            ErrorCode.QUEUE_FULL, message, retry_after_s=round(min(max(wait_s - most_s, least), most), 1)
        )

    def expected_wait_s(self) -> float:
        """How long one more turn would wait for its reply to begin; 0 while that is not known."""
        return max(0, self._num_inside + 1 - self._num_running) * self._interval_s

    @property
    def _num_running(self) -> int:
        """Replies that are computed at once; very many where the engine does not tell."""
        welcome = self._engine.welcome
        return (0 if welcome is None else welcome.max_running) or 10**9

    @property
    def _interval_s(self) -> float:
        status = self._engine.status
        return 0.0 if status is None else status.reply_interval_s

    def _standing_wait_s(self) -> float:
        """A burst may wait; where there is always a queue, its length is all that waiting is for."""
        if self._waiting_since is None or self._clock() - self._waiting_since < _STANDING_S:
            return self._longest_wait_s
        return _STANDING_SHARE * self._num_running * self._interval_s

    def _count(self, owner: str, change: int) -> None:
        self._num_inside += change
        self._of_owner[owner] += change
        if not self._of_owner[owner]:
            del self._of_owner[owner]
        if self._num_inside <= self._num_running:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._clock()

    def _is_owed(self, owner: str) -> bool:
        """Whether a named owner has less than its even part of what runs, among those who ask."""
        if not owner:
            return False
        now = self._clock()
        self._refused_at = {each: at for each, at in self._refused_at.items() if now - at < _WANTED_FOR_S}
        owners = {each for each in self._of_owner if each} | self._refused_at.keys() | {owner}
        return len(owners) > 1 and self._of_owner[owner] < max(1, self._num_running // len(owners))
