"""Which turns are let in: no more than the engine gets to while somebody still waits for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from server.engine.engine import Engine
from server.errors import ErrorCode, ServiceError

_LONGEST_SHARE = 0.5  # of a request's deadline; the rest is for its reply
_RETRY_S = (1.0, 60.0)


class TurnGate:
    """Counts the turns under way, and knows from the engine how often one ends. Thread-safe."""

    def __init__(self, engine: Engine, longest_wait_s: float) -> None:
        self._engine = engine
        self._longest_wait_s = longest_wait_s
        self._num_inside = 0
        self._lock = threading.Lock()

    @contextmanager
    def inside(self, deadline_s: float) -> Iterator[None]:
        """Let a turn in for as long as the block runs.

        Raises:
            ServiceError: QUEUE_FULL when its reply would have to wait too long, at the pace at which replies end now.
        """
        with self._lock:
            self._refuse_late(deadline_s)
            self._num_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_inside -= 1

    def expected_wait_s(self) -> float:
        """How long one more turn would wait for its reply to begin; 0 while that is not known."""
        welcome, status = self._engine.welcome, self._engine.status
        if welcome is None or status is None or not welcome.max_running:
            return 0.0
        return max(0, self._num_inside + 1 - welcome.max_running) * status.reply_interval_s

    def _refuse_late(self, deadline_s: float) -> None:
        wait_s, most_s = self.expected_wait_s(), min(self._longest_wait_s, _LONGEST_SHARE * deadline_s)
        if wait_s <= most_s:
            return
        message = (
            f"{self._num_inside} turns are under way, and a reply would begin in about {wait_s:.1f} s; at most "
            f"{most_s:.1f} s are waited for"
        )
        least, most = _RETRY_S
        raise ServiceError(
            ErrorCode.QUEUE_FULL, message, retry_after_s=round(min(max(wait_s - most_s, least), most), 1)
        )
