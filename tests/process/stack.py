"""The real server, started as `make run CHAT=neox` starts it: supervisor, two engine ranks, gunicorn, the
models made for the demo, its index."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from server.ports import free_loopback_port
from tests import ROOT

START_TIMEOUT_S = 240.0


class Stack:
    """One running server with its own port, store and run folder below `folder`; the log is kept in `folder`."""

    command = (ROOT / "container/serve",)

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_loopback_port()
        self.log_path = folder / "server.log"
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OCK_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OCK_HOST": "127.0.0.1",
            "OCK_PORT": str(self.port),
            "OCK_CHAT_MODEL": str(ROOT / "container/demo/chat"),
            "OCK_MODERATION_MODEL": str(ROOT / "container/demo/moderation"),
            "OCK_INDEX": str(ROOT / ".demo/index"),
            "OCK_ENCODER": "sample",
            "OCK_SEARCH_WINDOW": "0",
            "OCK_STORE": f"sqlite:///{folder}/conversations.sqlite",
            "OCK_RUN_DIR": str(folder / "run"),
            "OCK_TENSOR_PARALLEL_DEGREE": "2",
            "OCK_MAX_NEW_TOKENS": "64",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self.log_path.read_text("utf-8", errors="replace")

    def start(self) -> None:
        """Start it and wait until /ping says that it serves."""
        self.launch()
        self.wait_until(self.is_up, "an answer of 200 on /ping")

    def launch(self) -> None:
        """Start it without waiting."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=ROOT, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> int:
        """SIGTERM, as a container gets it; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(60)
        self._process = None
        return status

    def kill(self) -> None:
        """Kill every process of it at once."""
        if self._process is None:
            return
        children = self.pids("")
        for pid in [self._process.pid, *children]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(30)
        self._process = None

    def wait_exit(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """The exit status of a server that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def pids(self, word: str) -> list[int]:
        """Descendants of the supervisor whose command line has `word`."""
        assert self._process is not None
        found, parents = [], {self._process.pid}
        listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 2) for line in listing.splitlines()]
        grown = True
        while grown:
            new = {int(row[0]) for row in rows if int(row[1]) in parents} - parents
            grown, parents = bool(new), parents | new
        for row in rows:
            if int(row[0]) in parents - {self._process.pid} and word in (row[2] if len(row) > 2 else ""):
                found.append(int(row[0]))
        return found

    def is_up(self) -> bool:
        """Whether /ping answers 200."""
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended:\n{self.log[-4000:]}"
        return self.get("/ping")[0] == 200

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait for `condition`, failing with the log's end after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"no {what} after {timeout_s:g} s:\n{self.log[-6000:]}"
            time.sleep(0.25)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body; status 0 when nothing listens."""
        return self._send(urllib.request.Request(self.url + path))

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        """Status and body of a JSON request; bytes are sent as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **headers})
        return self._send(request)

    def ask(self, question: str, **parameters: object) -> dict[str, Any]:
        """The record of one turn."""
        status, record = self.post("/invocations", {"inputs": question, "parameters": parameters})
        assert status == 200, (status, record)
        answer: dict[str, Any] = record
        return answer

    def stream_lines(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The JSON lines of a streamed answer."""
        request = urllib.request.Request(
            f"{self.url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=90) as response:
            for line in response:
                yield json.loads(line)

    def _send(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return response.status, _body(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _body(error.read())
        except OSError:
            return 0, None


def _body(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", errors="replace")
