"""Real rank processes, started as the supervisor starts them, and a client of theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from server import wire
from server.engine.client import EngineClient
from tests import ROOT

START_TIMEOUT_S = 180.0


class EngineGroup:
    """`world` ranks that serve `model`, as the chat model and, when `scores` is true, as a classifier too."""

    def __init__(self, model: Path, world: int, run_dir: Path, *, scores: bool = True, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OCK_")},
            "OCK_CHAT_MODEL": str(model),
            "OCK_MODERATION_MODEL": str(model) if scores else "",
            "OCK_TENSOR_PARALLEL_DEGREE": str(world),
            "OCK_RUN_DIR": str(run_dir),
            "OCK_DEVICE": "cpu",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(world),
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        run_dir.mkdir(parents=True, exist_ok=True)
        self.log_path = run_dir / "ranks.log"
        with self.log_path.open("wb") as log:
            self._ranks = [
                subprocess.Popen(
                    [sys.executable, "-m", "server.engine.rank", "--rank", str(rank)],
                    cwd=ROOT,
                    env=environ,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                for rank in range(world)
            ]
        self.client = EngineClient(f"ipc://{run_dir}/engine.sock")
        self._port, self._world = port, world

    def wait_ready(self) -> None:
        """Wait for the group's welcome; fails with the ranks' log."""
        if not self.client.wait_ready(START_TIMEOUT_S):
            raise AssertionError(self.log_path.read_text("utf-8", errors="replace")[-4000:])

    def wait_status(self, holds: Callable[[wire.Status], bool]) -> None:
        """Wait until the group says of itself what `holds` looks for."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.client.status is None or not holds(self.client.status):
            assert time.monotonic() < deadline, self.client.status
            time.sleep(0.05)

    def reply(self, prompt: list[int], new_tokens: int) -> tuple[list[int], wire.Finished]:
        """The tokens of a greedy reply, read from its words, and its end."""
        sampling = wire.Sampling(max_new_tokens=new_tokens)
        request = wire.Generate(uuid.uuid4().hex, tuple(prompt), sampling)
        text = ""
        for message in self.client.generate(request):
            if isinstance(message, wire.Finished):
                return [int(word) for word in text.split("w")[1:]], message
            text += message.text
        raise AssertionError("the reply had no end")

    def replies(self, prompts: list[list[int]], new_tokens: list[int]) -> list[list[int]]:
        """The replies to many prompts that are sent at once."""
        results: list[list[int]] = [[] for _ in prompts]

        def ask(index: int) -> None:
            results[index] = self.reply(prompts[index], new_tokens[index])[0]

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def close(self) -> None:
        """End the ranks and remove the all-reduce's shared memory."""
        self.client.close()
        for rank in self._ranks:
            rank.kill()
            rank.wait()
        for left in Path("/dev/shm").glob(f"*_{self._port}_*"):
            left.unlink()
