"""The front's worker killed, stopped, or slow to load: gunicorn replaces it, or leaves it alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.process.web.front_server import Server, start_front, wait_until


def workers(server: Server) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Starts fronts whose gunicorn waits two seconds for a heartbeat."""
    with ExitStack() as stack:

        def start(app: str) -> Server:
            server = start_front(tmp_path, {}, app, flags=("--timeout", "2"))
            stack.callback(server.end)
            server.wait_ready()
            return server

        yield start


def test_the_requests_of_a_killed_worker_end_and_another_one_answers(hasty: Callable[[str], Server]) -> None:
    server = hasty("tests.process.web.fake_wsgi:app")
    [killed] = workers(server)
    body = {"inputs": "never-end", "stream": True}
    with server.http.stream("POST", "/invocations", json=body) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        next(lines)
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(httpx2.TransportError):
            list(lines)
    wait_until(lambda: workers(server) not in ([], [killed]), "no worker took its place")
    server.wait_ready()
    assert server.process.poll() is None


def test_a_stopped_worker_is_replaced(hasty: Callable[[str], Server]) -> None:
    server = hasty("tests.process.web.fake_wsgi:app")
    [stopped] = workers(server)
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: workers(server) not in ([], [stopped]), "no worker took its place")
    server.wait_ready()


def test_a_worker_that_loads_for_long_is_left_alone(hasty: Callable[[str], Server]) -> None:
    server = hasty("tests.process.web.slow_wsgi:app")
    assert "WORKER TIMEOUT" not in server.log.read_text()
    assert server.http.get("/ping").status_code == 200
