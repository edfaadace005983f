"""The sign of life that rank 0 gives the supervisor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

BEAT_FILE = "engine.beat"
_INTERVAL_S = 1.0


class Heartbeat:
    """Renews the time of a file in the run folder, at most once a second.

    The loop beats, not a thread of its own, which would go on beating while the loop hangs. A round of the loop may
    take OCK_STEP_TIMEOUT_S: the supervisor waits longer than that.
    """

    def __init__(self, run_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = run_dir / BEAT_FILE
        self._clock = clock
        self._next_at = clock()

    def beat(self) -> None:
        """Say that the loop goes round."""
        now = self._clock()
        if now < self._next_at:
            return
        self._next_at = now + _INTERVAL_S
        with contextlib.suppress(OSError):  # what cannot be written is silence, which the supervisor deals with
            self._file.touch()
