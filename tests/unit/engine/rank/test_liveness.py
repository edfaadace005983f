from __future__ import annotations

from pathlib import Path

from server.engine.rank.liveness import BEAT_FILE, Heartbeat


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
