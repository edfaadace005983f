from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Fail with `what` when `true` has not become so within the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Server:
    """A front under gunicorn, over stand-ins."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    notes: Path
    log: Path
    http: httpx.Client

    def note(self, name: str) -> None:
        (self.notes / name).touch()

    def wait_note(self, name: str) -> None:
        wait_until((self.notes / name).exists, f"no note {name!r}; log: {self.log.read_text()}")

    def wait_exit(self) -> int:
        return self.process.wait(DEADLINE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return server.http.get("/ping").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts fronts with the OCK_ settings given, and ends them."""
    started: list[Server] = []

    def start(**settings: str) -> Server:
        port, notes = _free_port(), tmp_path / "notes"
        notes.mkdir(exist_ok=True)
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/unit/web"), str(ROOT / "tests/process/web")]),
            "FAKE_NOTES": str(notes),
            "OCK_HOST": "127.0.0.1",
            "OCK_PORT": str(port),
            **{f"OCK_{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "container/gunicorn_conf.py"), "fake_wsgi:app"]
        log = tmp_path / f"{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=environ, stdout=out, stderr=out, cwd=tmp_path)
        url = f"http://127.0.0.1:{port}"
        server = Server(url, port, process, notes, log, httpx.Client(base_url=url, verify=False, timeout=DEADLINE_S))
        started.append(server)
        wait_until(lambda: _answers(server), f"the front does not answer: {log.read_text()}")
        return server

    yield start
    for server in started:
        server.http.close()
        server.process.kill()
        server.process.wait()
