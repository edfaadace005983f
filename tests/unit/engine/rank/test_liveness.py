from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from server.engine.rank.liveness import BEAT_FILE, EXIT_STUCK, Heartbeat, Watchdog
from tests import ROOT


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_beats_at_once_and_then_once_a_second_at_most(tmp_path: Path) -> None:
    clock = Clock()
    heartbeat = Heartbeat(tmp_path, clock)
    beats = []
    for clock.now in (0.0, 0.4, 0.9, 1.0, 1.5, 9.0):
        heartbeat.beat()
        beats.append((tmp_path / BEAT_FILE).exists())
        (tmp_path / BEAT_FILE).unlink(missing_ok=True)
    assert beats == [True, False, False, True, False, True]


def test_a_run_folder_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "gone").beat()


def test_a_step_that_takes_too_long_is_seen() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, "rank", clock, watches=False)
    seen = []
    with watchdog:
        for clock.now in (1.0, 4.0, 8.0, 12.0):
            seen.append(watchdog.look())
    assert seen == [False, False, False, True]


def test_steps_one_after_the_other_and_pauses_between_them_are_no_long_step() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, "rank", clock, watches=False)
    for number in range(40):
        with watchdog:
            clock.now = 3.0 * number
            assert not watchdog.look()
    for number in range(40):
        clock.now = 200.0 + 3.0 * number
        assert not watchdog.look()


def test_time_in_which_nobody_ran_does_not_count() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, "rank", clock, watches=False)
    with watchdog:
        for clock.now in (1.0, 131.0, 132.0):  # paused for 130 s in the middle of a step
            assert not watchdog.look()
        for clock.now in (136.0, 140.0):
            stuck = watchdog.look()
    assert stuck


def test_a_stuck_process_ends_with_a_status_of_its_own() -> None:
    code = """
import time
from server.engine.rank.liveness import Watchdog
with Watchdog(0.2, "rank 1"):
    time.sleep(30)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25, cwd=ROOT)
    assert ended.returncode == EXIT_STUCK
    assert "rank 1: a step ran longer than OCK_STEP_TIMEOUT_S=0.2" in ended.stderr
