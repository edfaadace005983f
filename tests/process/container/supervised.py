"""A supervisor under test, and patience with deadlines."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests import ROOT

DEADLINE_S = 30.0


class Supervised:
    """A supervisor in a process of its own, and what it says."""

    def __init__(self, argv: list[str]) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._unmatched: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches and was not returned before, said already or to come."""
        deadline = time.monotonic() + DEADLINE_S
        for seen in self._unmatched:
            if match := re.search(pattern, seen):
                self._unmatched.remove(seen)
                return match
        while (line := self._next_line(deadline)) is not None:
            if match := re.search(pattern, line):
                return match
            self._unmatched.append(line)
        raise AssertionError(f"it ended before it said {pattern!r}; it said {self.lines}")

    def _next_line(self, deadline: float) -> str | None:
        try:
            line = self._queue.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"nothing more was said in time after {self.lines}") from None
        if line is not None:
            self.lines.append(line)
        return line

    def wait_for_pids(self, names: tuple[str, ...]) -> dict[str, int]:
        """The process ids that the children called `names` print, in whatever order they come."""
        pids: dict[str, int] = {}
        while set(pids) != set(names):
            match = self.wait_for(rf"^({'|'.join(names)}) +\| pid=(\d+)")
            pids[match[1]] = int(match[2])
        return pids

    def wait_for_end(self) -> int:
        """The exit status, after all output was read into `lines`."""
        status = self.process.wait(DEADLINE_S)
        while self._next_line(time.monotonic() + DEADLINE_S) is not None:
            pass
        return status


def wait_until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
