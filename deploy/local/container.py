"""One container running here, started, watched and stopped as SageMaker does it."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request

from deploy.aws.api import Say
from deploy.errors import DeployError

STOP_S = 30  # SageMaker kills this long after SIGTERM
PING_TIMEOUT_S = 2.0  # SageMaker's patience with one /ping
_PING_EVERY_S = 1.0
_KILLED = 137


class LocalContainer:
    """The container `name` that `command` runs in the foreground, under `tool`, serving at `url`."""

    def __init__(self, tool: str, name: str, command: list[str], url: str, say: Say) -> None:
        self._tool = tool
        self._name = name
        self._command = command
        self._url = url
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it in a session of its own, so that Ctrl-C reaches us alone and stopping is ours."""
        self._process = subprocess.Popen(self._command, start_new_session=True)

    def wait_in_service(self, timeout_s: float) -> float:
        """Returns the seconds until /ping answered 200.

        Raises:
            DeployError: the container ended before, or `timeout_s` passed; CreateEndpoint would have failed.
        """
        began = time.monotonic()
        while not self._answers_ping():
            status = self._running().poll()
            if status is not None:
                raise DeployError(f"the container ended with status {status} before it answered /ping")
            if time.monotonic() - began > timeout_s:
                raise DeployError(f"/ping has not answered 200 within {timeout_s:g} s; an endpoint would fail here")
            time.sleep(_PING_EVERY_S)
        return time.monotonic() - began

    def wait_ended(self) -> int:
        """The container's exit status, when it ends by itself."""
        return self._running().wait()

    def stop(self) -> int:
        """SIGTERM, SIGKILL 30 s later if need be; the exit status."""
        process = self._running()
        if process.poll() is not None:
            return process.returncode
        began = time.monotonic()
        subprocess.run([self._tool, "stop", "-t", str(STOP_S), self._name], stdout=subprocess.DEVNULL, check=False)
        status = process.wait(timeout=STOP_S)
        took_s = time.monotonic() - began
        how = "had to be killed" if status == _KILLED else f"ended with status {status}"
        self._say(f"the container {how} {took_s:.1f} s after SIGTERM")
        return status

    def _answers_ping(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self._url}/ping", timeout=PING_TIMEOUT_S) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start() comes first"
        return self._process
