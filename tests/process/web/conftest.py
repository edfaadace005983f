from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from front_server import ROOT, Server, start_front

sys.path.append(str(ROOT / "tests/unit/web"))  # the stand-ins of server.web.services


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts fronts with the OCK_ settings given, and ends them."""
    started: list[Server] = []

    def start(**settings: str) -> Server:
        started.append(start_front(tmp_path, settings))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for server in started:
        server.end()
