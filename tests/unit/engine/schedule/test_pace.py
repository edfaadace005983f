"""How long what waits has to wait follows from the steps that were measured."""

from __future__ import annotations

import random

import pytest

from server.engine.schedule.pace import Pace


def test_the_cost_of_a_step_is_found_from_steps_of_all_kinds() -> None:
    rng, pace = random.Random(1), Pace()
    for _ in range(300):
        prefilled, decoded = rng.choice([0, 0, 64, 300]), rng.randint(0, 32)
        pace.add_step(prefilled, decoded, 0.01 + 0.0002 * prefilled + 0.001 * decoded)
    assert pace.prefill_s(1000) == pytest.approx(0.2, rel=0.02)
    for _ in range(200):
        pace.end_reply(50)
    assert pace.reply_interval_s(32) == pytest.approx(50 * (0.01 / 32 + 0.001), rel=0.05)


def test_what_is_prefilled_for_each_reply_counts_whatever_it_is_for() -> None:
    pace = Pace()
    for number in range(3000):
        pace.add_step(60 if number % 10 == 0 else 0, 8, 0.008 + 0.001 * 8 + (0.06 if number % 10 == 0 else 0.0))
        if number % 10 == 9:
            pace.end_reply(80)  # eight rows of ten steps
    seconds_a_reply = 10 * (0.008 + 0.008) + 0.06
    assert pace.reply_interval_s(8) == pytest.approx(seconds_a_reply, rel=0.05)


def test_steps_that_are_all_alike_are_foretold_as_they_were() -> None:
    pace = Pace()
    for _ in range(100):
        pace.add_step(0, 16, 0.04)
    pace.end_reply(10)
    assert pace.reply_interval_s(16) == pytest.approx(10 * 0.04 / 16, rel=0.1)


def test_an_old_pace_is_forgotten() -> None:
    pace = Pace()
    for seconds in (0.5, 0.05):
        for _ in range(600):
            pace.add_step(100, 10, seconds)
    assert pace.prefill_s(1000) < 0.6


def test_nothing_is_foretold_before_a_reply_has_ended() -> None:
    pace = Pace()
    pace.add_step(10, 10, 1.0)
    assert pace.reply_interval_s(4) == 0.0
