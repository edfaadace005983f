"""Ends this process when a step does not: peers of a dead rank spin in the all-reduce for ever."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time

EXIT_STUCK = 17


class Watchdog:
    """A thread that ends the process when a step takes longer than `timeout_s`.

    The all-reduce releases the interpreter lock while it spins, so this thread runs; a signal handler would not.
    """

    def __init__(self, timeout_s: float, name: str) -> None:
        self._timeout_s = timeout_s
        self._name = name
        self._started: float | None = None
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._started = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._timeout_s / 4))
            started = self._started
            if started is not None and time.monotonic() - started > self._timeout_s:
                sys.stderr.write(
                    f"{self._name}: a step ran longer than OCK_STEP_TIMEOUT_S={self._timeout_s:g}; ending\n"
                )
                faulthandler.dump_traceback(file=sys.stderr)
                sys.stderr.flush()
                os._exit(EXIT_STUCK)
