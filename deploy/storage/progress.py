"""How far a transfer is, told every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deploy.aws.api import Say

_EVERY_S = 5.0


class Progress:
    """Bytes sent of `total_bytes`, from any thread."""

    def __init__(self, total_bytes: int, what: str, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._total_bytes = total_bytes
        self._what = what
        self._say = say
        self._clock = clock
        self._began = self._told = clock()
        self._sent_bytes = 0
        self._skipped_bytes = 0
        self._lock = threading.Lock()

    def advance(self, num_bytes: int) -> None:
        """`num_bytes` more have been sent."""
        with self._lock:
            self._sent_bytes += num_bytes
            now = self._clock()
            if now - self._told < _EVERY_S:
                return
            self._told = now
            rate = self._sent_bytes / max(now - self._began, 1e-9)
            done = self._sent_bytes + self._skipped_bytes
        left_s = (self._total_bytes - done) / max(rate, 1.0)
        self._say(f"{self._what}: {done / 1e9:.2f} of {self._total_bytes / 1e9:.2f} GB, {left_s:.0f} s left")

    def skip(self, num_bytes: int) -> None:
        """`num_bytes` were there already."""
        with self._lock:
            self._skipped_bytes += num_bytes

    def finish(self) -> None:
        """Tells the sum."""
        seconds = self._clock() - self._began
        self._say(
            f"{self._what}: {self._sent_bytes / 1e9:.3f} GB sent in {seconds:.0f} s, "
            f"{self._skipped_bytes / 1e9:.3f} GB were there"
        )
