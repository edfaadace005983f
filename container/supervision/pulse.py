"""For how long rank 0 has not renewed its heartbeat, the time of a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_MOST_A_LOOK_S = 5.0


class Pulse:
    """Looks at the heartbeat again and again.

    Whether the file's time is another counts, not which it is: clocks are set, also backwards. Of the time between two
    looks a few seconds count at most: when this process itself was held up, with a paused container or a suspended
    machine, the ranks were held up too.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Count from now, as if it had just beaten."""
        self._seen = self._beat()
        self._looked_at = self._clock()
        self._silent_s = 0.0

    def look(self) -> float:
        """Look now; the seconds of silence up to now."""
        now, beat = self._clock(), self._beat()
        self._silent_s = 0.0 if beat != self._seen else self._silent_s + min(now - self._looked_at, _MOST_A_LOOK_S)
        self._seen, self._looked_at = beat, now
        return self._silent_s

    def _beat(self) -> int | None:
        """The file's time; None before the first beat."""
        try:
            return self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return None
