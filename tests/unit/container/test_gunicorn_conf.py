from __future__ import annotations

from container import gunicorn_conf
from tests.unit.container.still_clock import Clock


def test_a_front_that_was_held_up_together_with_gunicorn_is_not_taken_for_dead() -> None:
    clock, looks = Clock(), []
    look = gunicorn_conf.forgiving_pauses(lambda: looks.append(clock.now), clock)
    for passed in (1, 1, 600, 1, 9):  # ten minutes of docker pause
        clock.now += passed
        look()
    assert looks == [1, 2, 612]
