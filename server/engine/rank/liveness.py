"""Signs of life and their absence: what the supervisor sees of rank 0, and how a rank ends that is stuck or done."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

EXIT_STUCK = 17
BEAT_FILE = "engine.beat"
READY_FILE = "engine.ready"  # holds the number of the attempt that serves
_INTERVAL_S = 1.0
_MOST_A_LOOK_S = 5.0


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


class Watchdog:
    """A thread that ends the process when a step takes longer than `timeout_s`: peers of a dead rank spin for ever.

    The all-reduce releases the interpreter lock while it spins, so this thread runs; a signal handler would not. Of the
    time between two looks a few seconds count at most: when this thread was held up, by a paused container, the step
    was held up too.
    """

    def __init__(
        self, timeout_s: float, name: str, clock: Callable[[], float] = time.monotonic, *, watches: bool = True
    ) -> None:
        self._timeout_s = timeout_s
        self._name = name
        self._clock = clock
        self._num_changes = 0  # odd while a step runs
        self._seen = 0
        self._looked_at = clock()
        self._spent_s = 0.0
        if watches:
            threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def __enter__(self) -> None:
        self._num_changes += 1

    def __exit__(self, *_: object) -> None:
        self._num_changes += 1

    def look(self) -> bool:
        """Look now; whether the step under way has taken too long."""
        now, num_changes = self._clock(), self._num_changes
        passed, self._looked_at = now - self._looked_at, now
        runs_on = num_changes == self._seen and num_changes % 2 == 1
        self._spent_s = self._spent_s + min(passed, _MOST_A_LOOK_S) if runs_on else 0.0
        self._seen = num_changes
        return self._spent_s > self._timeout_s

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._timeout_s / 4))
            if self.look():
                sys.stderr.write(
                    f"{self._name}: a step ran longer than OCK_STEP_TIMEOUT_S={self._timeout_s:g}; ending\n"
                )
                faulthandler.dump_traceback(file=sys.stderr)
                sys.stderr.flush()
                os._exit(EXIT_STUCK)


def end_process(status: int) -> NoReturn:
    """End without taking the interpreter apart: torch's threads dawdle then, or abort because a peer is gone."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
