from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.supervision.commands import Commands, RankPlace
from container.supervision.pulse import Pulse
from server.engine.rank.liveness import BEAT_FILE
from server.ports import free_loopback_port
from tests.process.container.supervised import ROOT, wait_until


@pytest.fixture
def rank(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real, ready group of one rank with the demo's chat model and nothing to do."""
    settings = {"OCK_CHAT_MODEL": str(ROOT / "container/demo/chat"), "OCK_DEVICE": "cpu", "OCK_RUN_DIR": str(tmp_path)}
    command = Commands({**os.environ, **settings}, 1, "cpu", 1).rank(RankPlace(0, 1, free_loopback_port()))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command.argv, env=dict(command.environ), stdout=log, stderr=log)
    try:
        wait_until(lambda: (tmp_path / "engine.ready").exists() or process.poll() is not None, 120)
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def longest_silence(pulse: Pulse, seconds: float) -> float:
    end = time.monotonic() + seconds
    longest = 0.0
    while time.monotonic() < end:
        time.sleep(0.1)  # as the supervisor looks: now and then
        longest = max(longest, pulse.look())
    return longest


def test_an_idle_rank_0_beats_every_second_or_so_and_a_stopped_one_does_not(
    rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    wait_until((tmp_path / BEAT_FILE).exists)
    assert longest_silence(Pulse(tmp_path / BEAT_FILE), 8) < 5  # twice a second, but for a busy machine
    rank.send_signal(signal.SIGSTOP)
    assert longest_silence(Pulse(tmp_path / BEAT_FILE), 8) > 7
