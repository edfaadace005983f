from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.container.supervised import Supervised


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(
        rank: str = "normal", front: str = "normal", start_s: float = 30, drain_s: float = 10, silence_s: float = 60
    ) -> Supervised:
        host = str(Path(__file__).with_name("host.py"))
        limits = [str(start_s), str(drain_s), str(silence_s)]
        started.append(Supervised([sys.executable, host, str(tmp_path), rank, front, *limits]))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
