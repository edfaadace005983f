"""A front under gunicorn over stand-ins, and waiting for what it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from server.ports import free_loopback_port
from tests import ROOT

DEADLINE_S = 90.0  # a machine with other work must not fail a test


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
    http: httpx2.Client

    def note(self, name: str) -> None:
        (self.notes / name).touch()

    def wait_note(self, name: str) -> None:
        wait_until((self.notes / name).exists, f"no note {name!r}; log: {self.log.read_text()}")

    def wait_exit(self) -> int:
        return self.process.wait(DEADLINE_S)

    def wait_ready(self) -> None:
        wait_until(self._answers, f"the front does not answer; log: {self.log.read_text()}")

    def end(self) -> None:
        """Kill gunicorn and its worker at once, as the end of a container does."""
        self.http.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/ping").status_code == 200
        except httpx2.TransportError:
            return False


def start_front(
    folder: Path, settings: dict[str, str], app: str = "tests.process.web.fake_wsgi:app", flags: Sequence[str] = ()
) -> Server:
    """Start gunicorn with the OCK_ settings and flags given; not waited for."""
    port, notes = free_loopback_port(), folder / "notes"
    notes.mkdir(exist_ok=True)
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FAKE_NOTES": str(notes),
        "OCK_HOST": "127.0.0.1",
        "OCK_PORT": str(port),
        **{f"OCK_{name.upper()}": value for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "container/gunicorn_conf.py"), *flags, app]
    log, url = folder / f"{port}.log", f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out, cwd=folder, process_group=0)
    return Server(url, port, process, notes, log, httpx2.Client(base_url=url, verify=False, timeout=DEADLINE_S))
