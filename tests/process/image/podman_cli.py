"""The image under test, driven as a person would: with podman."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests import ROOT

IMAGE = "localhost/openchatkit-test:cpu"
TWO_RANKS = ("--shm-size", "1g", "--env", "OCK_TENSOR_PARALLEL_DEGREE=2")
START_S = 180.0
_ENVIRON = {"CONTAINERS_CONF": str(ROOT / "container" / "containers.conf"), **os.environ}


def podman(*arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    if (
        arguments[0] == "run"
    ):  # without a service manager podman cannot run an image's HEALTHCHECK, and says so each time
        arguments = ("run", "--no-healthcheck", *arguments[1:])
    return subprocess.run(["podman", *arguments], env=_ENVIRON, capture_output=True, text=True, timeout=timeout_s)


def build() -> None:
    """Build the CPU image; layers that did not change come from podman's own cache."""
    environ = {**_ENVIRON, "FLAVOR": "cpu", "BASE_IMAGE": "local", "IMAGE": IMAGE}
    command = [sys.executable, "-m", "deploy.image.build"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@dataclass(frozen=True)
class Container:
    """A started container that publishes its port on loopback."""

    name: str
    port: int

    @property
    def log(self) -> str:
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}"))

    def post(self, path: str, body: object) -> tuple[int, Any]:
        return self._ask(self._request(path, body))

    def stream(self, body: dict[str, object]) -> list[dict[str, Any]]:
        """All records of a streamed answer, once it has ended."""
        with urllib.request.urlopen(self._request("/invocations", {**body, "stream": True}), timeout=70) as answer:
            return [json.loads(line) for line in answer]

    def wait_until(self, condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
        deadline = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < deadline, self.log[-6000:]
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                if self.get("/ping")[0] == 200:
                    return
            assert self.state == "running", self.log[-6000:]
            assert time.monotonic() < deadline, self.log[-6000:]
            time.sleep(0.25)

    @property
    def state(self) -> str:
        return podman("inspect", "--format", "{{.State.Status}}", self.name).stdout.strip()

    def wait_for_exit(self) -> int:
        return int(podman("wait", self.name, timeout_s=START_S).stdout.strip())

    def python(self, code: str) -> str:
        """What a line of Python prints inside the container."""
        done = podman("exec", self.name, "python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _request(self, path: str, body: object) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        return urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), headers)

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=70) as answer:
                body = answer.read()
                return answer.status, json.loads(body) if body else None
        except urllib.error.HTTPError as error:
            body = error.read()
            return error.code, json.loads(body) if body else None


@contextlib.contextmanager
def started(name: str, port: int, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """Run the image in the background; the container is gone afterwards."""
    done = podman("run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:8080", *options, IMAGE, *command)
    assert done.returncode == 0, done.stderr
    try:
        yield Container(name, port)
    finally:
        podman("rm", "--force", "--time", "0", name)
