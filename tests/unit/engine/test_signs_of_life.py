"""A rank that is dead or stopped is noticed within two seconds, one that computes for minutes is not taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from server.engine.signs_of_life import SILENT_AFTER_S, SignsOfLife, give_signs
from tests import ROOT


class Group:
    """Two ranks' files, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self._stamp = folder, 100.0, 0
        self.signs = SignsOfLife(folder, 2, clock=lambda: self.now)

    def pass_s(self, seconds: float, *living: int, step_s: float = 0.25) -> None:
        for _ in range(round(seconds / step_s)):
            self.now += step_s
            self._stamp += 1
            for rank in living:
                path = self.folder / f"rank-{rank}.alive"
                path.touch()
                os.utime(path, ns=(self._stamp, self._stamp))
            self.signs.look()


def test_a_rank_that_has_stopped_is_silent_until_it_goes_on(tmp_path: Path) -> None:
    group = Group(tmp_path)
    group.pass_s(60, 0, 1)
    assert group.signs.silent_ranks == []
    group.pass_s(1, 0)
    assert group.signs.silent_ranks == []
    group.pass_s(SILENT_AFTER_S - 0.5, 0)
    assert group.signs.silent_ranks == [1]
    group.pass_s(0.25, 0, 1)
    assert group.signs.silent_ranks == []


def test_ranks_that_never_gave_a_sign_are_not_missed(tmp_path: Path) -> None:
    group = Group(tmp_path)
    group.pass_s(60)
    assert group.signs.silent_ranks == []


def test_a_front_that_was_held_up_itself_does_not_blame_the_ranks(tmp_path: Path) -> None:
    group = Group(tmp_path)
    group.pass_s(1, 0, 1)
    group.now += 3600
    group.signs.look()
    assert group.signs.silent_ranks == []


def test_a_process_gives_signs_by_itself(tmp_path: Path) -> None:
    give_signs(tmp_path, 1)
    path = tmp_path / "rank-1.alive"
    seen: set[int] = set()
    while len(seen) < 2:  # it is there, and it changes
        if path.exists():
            seen.add(path.stat().st_mtime_ns)


def test_a_process_that_is_stopped_is_silent_and_one_that_goes_on_is_not(tmp_path: Path) -> None:
    signs = SignsOfLife(tmp_path, 1)
    code = "import pathlib, sys, time; from server.engine.signs_of_life import give_signs\n"
    code += "give_signs(pathlib.Path(sys.argv[1]), 0); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    try:
        wait_until(lambda: (tmp_path / "rank-0.alive").exists())
        for stop, silent in ((signal.SIGSTOP, [0]), (signal.SIGCONT, []), (signal.SIGKILL, [0])):
            process.send_signal(stop)
            wait_until(lambda silent=silent: look(signs) == silent)  # type: ignore[misc]
    finally:
        process.kill()
        process.wait()


def look(signs: SignsOfLife) -> list[int]:
    time.sleep(0.05)
    signs.look()
    return signs.silent_ranks


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
