"""Whether every rank's process runs: a thread of each renews the time of a file, and the front looks at the files.

It says that the process is neither dead nor stopped, whatever it computes: a step may take minutes. That a step takes
too long is the watchdog's to notice. No torch here.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_RENEW_EVERY_S = 0.25
SILENT_AFTER_S = 1.5
_MOST_A_LOOK_S = 0.5  # of the time between two looks: if the front was held up, so may the ranks have been


def sign_file(run_dir: Path, rank: int) -> Path:
    """What `rank` renews."""
    return run_dir / f"rank-{rank}.alive"


def give_signs(run_dir: Path, rank: int) -> None:
    """Renew this rank's file for as long as the process runs."""
    threading.Thread(target=_renew, args=(sign_file(run_dir, rank),), daemon=True, name="alive").start()


def _renew(path: Path) -> None:
    while True:
        with contextlib.suppress(OSError):  # a disk that is full takes no file, and is no reason to be taken for dead
            path.touch()
        time.sleep(_RENEW_EVERY_S)


class SignsOfLife:
    """Looks at the files of one group's ranks. A rank that has never given a sign is not missed."""

    def __init__(self, run_dir: Path, world: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = [sign_file(run_dir, rank) for rank in range(world)]
        self._clock = clock
        self._seen: list[int | None] = [None] * world
        self._silent_s = [0.0] * world
        self._looked_at = clock()

    def look(self) -> None:
        """Look now; to be called several times a second."""
        now = self._clock()
        passed_s, self._looked_at = min(now - self._looked_at, _MOST_A_LOOK_S), now
        for rank, path in enumerate(self._files):
            found = _changed_at(path)
            renewed = found is None or found != self._seen[rank]
            self._silent_s[rank] = 0.0 if renewed else self._silent_s[rank] + passed_s
            self._seen[rank] = found

    @property
    def silent_ranks(self) -> list[int]:
        """Ranks whose process is dead or stopped."""
        return [rank for rank, silent_s in enumerate(self._silent_s) if silent_s > SILENT_AFTER_S]


def watch(groups: Sequence[SignsOfLife]) -> None:
    """Keep looking, in a thread of its own."""
    threading.Thread(target=_watch, args=(groups,), daemon=True, name="signs-of-life").start()


def _watch(groups: Sequence[SignsOfLife]) -> None:
    while True:
        for group in groups:
            group.look()
        time.sleep(_RENEW_EVERY_S)


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
