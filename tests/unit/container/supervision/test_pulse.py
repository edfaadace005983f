from __future__ import annotations

import os
from pathlib import Path

import pytest

from container.supervision.pulse import Pulse
from tests.unit.container.still_clock import Clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "beat"


def beat(file: Path, at: float) -> None:
    file.touch()
    os.utime(file, (at, at))


def silence(pulse: Pulse, clock: Clock, until: float) -> float:
    """The silence after looking once a second until then."""
    while clock.now < until:
        clock.now += 1
        silent_s = pulse.look()
    return silent_s


def test_silence_grows_until_the_next_beat_whatever_time_it_has(file: Path, clock: Clock) -> None:
    beat(file, 1000)
    pulse = Pulse(file, clock)
    assert silence(pulse, clock, 7) == 7
    beat(file, 500)  # the machine's clock was set back
    assert pulse.look() == 0
    assert silence(pulse, clock, 10) == 3


def test_a_heart_that_never_beat_is_silent_from_the_start(file: Path, clock: Clock) -> None:
    pulse = Pulse(file, clock)
    assert silence(pulse, clock, 4) == 4
    beat(file, 1)
    assert pulse.look() == 0


def test_a_new_count_forgets_what_was(file: Path, clock: Clock) -> None:
    pulse = Pulse(file, clock)
    silence(pulse, clock, 100)
    pulse.restart()
    assert pulse.look() == 0


def test_the_time_that_the_observer_was_held_up_is_not_the_ranks_silence(file: Path, clock: Clock) -> None:
    beat(file, 1)
    pulse = Pulse(file, clock)
    clock.now = 3600  # a paused container goes on
    assert pulse.look() == 5
