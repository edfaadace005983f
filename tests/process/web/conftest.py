from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.web.front_server import Server, start_front


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts fronts with the OCK_ settings given, and ends them."""
    started: list[Server] = []

    def start(app: str = "tests.process.web.fake_wsgi:app", **settings: str) -> Server:
        started.append(start_front(tmp_path, settings, app))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One front for the tests that need no settings or end of their own."""
    started = start_front(tmp_path_factory.mktemp("front"), {"threads": "32", "max_body_bytes": "2048"})
    started.wait_ready()
    yield started
    started.end()


@pytest.fixture(scope="module")
def impatient_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A front that waits for a slow client for a moment only."""
    started = start_front(tmp_path_factory.mktemp("front"), {}, "tests.process.web.impatient_wsgi:app")
    started.wait_ready()
    yield started
    started.end()
