"""A server that the soak starts itself, so that it may harm it: started again when it ends, as a container is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.errors import DeployError
from deploy.measure.soak.call import Server
from server.ports import free_loopback_port

ROOT = Path(__file__).resolve().parents[3]
START_LIMIT_S = 600.0
STEP_TIMEOUT_S = 10.0  # so that a stopped rank is noticed while somebody waits for the result
_READY = re.compile(rb"engine\.ready attempt=(\d+) seconds=([\d.]+)")
_DEMO = {
    "OCK_CHAT_MODEL": "container/demo/chat",
    "OCK_MODERATION_MODEL": "container/demo/moderation",
    "OCK_TENSOR_PARALLEL_DEGREE": "2",
    "OCK_DEVICE": "cpu",
}


class OwnServer:
    """`container/serve` with the demo's models where the environment names no others, and all it keeps in `folder`."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._port = free_loopback_port()
        self.server = Server(f"http://127.0.0.1:{self._port}")
        self.log_path = folder / "server.log"
        self.store_path = folder / "conversations.sqlite"
        self.num_starts = 0
        self._started_at = 0.0
        self._environ = self._settings(folder, environ)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, daemon=True, name="keeper")

    def _settings(self, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
        demo = {name: str(ROOT / value) if "/" in value else value for name, value in _DEMO.items()}
        if (ROOT / ".demo/index/manifest.json").is_file():
            demo |= {"OCK_INDEX": str(ROOT / ".demo/index"), "OCK_ENCODER": "sample"}
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}",
            "OCK_HOST": "127.0.0.1",
            "OCK_PORT": str(self._port),
            "OCK_STORE": f"sqlite:///{self.store_path}",
            "OCK_RUN_DIR": str(folder / "run"),
            "OCK_STEP_TIMEOUT_S": f"{STEP_TIMEOUT_S:g}",
        }
        return {**demo, **environ, **own}

    def start(self) -> float:
        """Start it and wait until it serves; the seconds that took. Raises DeployError when it does not."""
        began = time.monotonic()
        self._keeper.start()
        while self.server.get("/ping").status != 200:
            if time.monotonic() - began > START_LIMIT_S or self.num_starts > 1:
                self.stop()
                raise DeployError(f"the server does not start: see {self.log_path}")
            time.sleep(0.2)
        return time.monotonic() - began

    def stop(self) -> None:
        """End it by SIGTERM, and for good."""
        self._stopping.set()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
        self._keeper.join(60)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    def pids(self, words: str) -> list[int]:
        """Its processes whose command line has `words`."""
        return [pid for pid in self.tree() if words in _command_line(pid)]

    def tree(self) -> list[int]:
        """Every process of it, parents before children."""
        found = [self.pid]
        for pid in found:
            found += _children(pid)
        return found

    def up_s(self) -> float:
        """How long ago its first process was started, the last time."""
        return time.monotonic() - self._started_at

    def last_group_start_s(self) -> float:
        """How long the engine group took to become ready the last time, as the supervisor says."""
        starts = _READY.findall(self.log_path.read_bytes())
        return float(starts[-1][1]) if starts else 0.0

    def num_group_starts(self) -> int:
        """How often the engine group became ready."""
        return len(_READY.findall(self.log_path.read_bytes()))

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._started_at = time.monotonic()
            self.num_starts += 1
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [ROOT / "container/serve"], env=self._environ, stdout=log, stderr=log, start_new_session=True
                )
            self._process.wait()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text("ascii").split())
        except OSError:  # it has ended
            continue
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
