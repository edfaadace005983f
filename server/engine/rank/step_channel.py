"""How rank 0 tells its followers the next step: local sockets, so that a follower with nothing to do sleeps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import zmq

from server.engine.schedule.step import Step

STOP = Step(number=-1, model_steps=())


def _address(run_dir: Path, attempt: int, rank: int) -> str:
    return f"ipc://{run_dir}/steps-{attempt}-{rank}.sock"


class StepSender:
    """Rank 0's end."""

    def __init__(self, run_dir: Path, attempt: int, world: int) -> None:
        self._context = zmq.Context()
        self._encoder = msgspec.msgpack.Encoder()
        self._sockets = []
        for rank in range(1, world):
            socket = self._context.socket(zmq.PUSH)
            socket.setsockopt(zmq.LINGER, 1000)
            socket.bind(_address(run_dir, attempt, rank))
            self._sockets.append(socket)

    def send(self, step: Step) -> None:
        """Give `step` to every follower."""
        if not self._sockets:
            return
        frame = self._encoder.encode(step)
        for socket in self._sockets:
            socket.send(frame)

    def close(self) -> None:
        """Tell the followers to stop."""
        self.send(STOP)
        self._context.destroy()


class StepReceiver:
    """A follower's end."""

    def __init__(self, run_dir: Path, attempt: int, rank: int) -> None:
        self._context = zmq.Context()
        self._decoder = msgspec.msgpack.Decoder(Step)
        self._socket = self._context.socket(zmq.PULL)
        self._socket.connect(_address(run_dir, attempt, rank))

    def receive(self) -> Step | None:
        """The next step, waiting for it; None: stop."""
        step = self._decoder.decode(self._socket.recv())
        return step if step.model_steps else None
