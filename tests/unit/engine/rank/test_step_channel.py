"""Steps from rank 0 to its followers."""

from __future__ import annotations

import threading
from pathlib import Path

from server.engine.rank.step_channel import StepReceiver, StepSender
from server.engine.schedule.step import ModelStep, Segment, Step, pending_token

PROMPT = Segment.of((1, pending_token(2)), (4, 0), 9, 2)
STEP = Step(3, (ModelStep("chat", (PROMPT, Segment((7,), (1,), 3, 5, 2, (3,), 1))),))


def test_every_follower_gets_every_step_in_order_and_then_hears_that_it_is_over(tmp_path: Path) -> None:
    sender = StepSender(tmp_path, 0, 3)
    receivers = [StepReceiver(tmp_path, 0, rank) for rank in (1, 2)]
    sender.send(STEP)
    sender.send(Step(4, STEP.model_steps))
    threading.Thread(target=sender.close).start()
    for receiver in receivers:
        assert receiver.receive() == STEP
        second = receiver.receive()
        assert second is not None
        assert second.number == 4
        assert receiver.receive() is None


def test_the_followers_of_another_start_hear_nothing(tmp_path: Path) -> None:
    old = StepReceiver(tmp_path, 0, 1)
    sender = StepSender(tmp_path, 1, 2)
    new = StepReceiver(tmp_path, 1, 1)
    sender.send(STEP)
    assert new.receive() == STEP
    assert not old._socket.poll(50)
    sender.close()


def test_a_rank_alone_has_nobody_to_tell(tmp_path: Path) -> None:
    sender = StepSender(tmp_path, 0, 1)
    sender.send(STEP)
    sender.close()
    assert not list(tmp_path.iterdir())
