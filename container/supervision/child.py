"""One child process: its output line by line, its last words, its end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from container.console import Console

LAST_WORDS = 12
_READS_A_PUMP = 16
_MAX_LINE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Command:
    """What to start: the name in the log, the argument vector and the whole environment."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]


class Child:
    """A started process in a process group of its own, which the kernel kills when the supervisor dies."""

    def __init__(self, command: Command, console: Console) -> None:
        """Start it. Raises OSError when the program cannot be started."""
        self.name = command.name
        self.exit_code: int | None = None
        self.last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._console = console
        self._partial = b""
        self._process = subprocess.Popen(
            command.argv,
            env=dict(command.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=_die_with(os.getpid()),
        )
        assert self._process.stdout is not None
        self.output_fd = self._process.stdout.fileno()
        os.set_blocking(self.output_fd, False)

    @property
    def pid(self) -> int:
        """The process id, which is also the process group's."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been reaped yet."""
        return self.exit_code is None

    def pump(self) -> bool:
        """Pass on the output that is there, or a part of much. False once the pipe is at its end."""
        for _ in range(_READS_A_PUMP):  # a child that writes without pause must not hold the supervisor up
            try:
                data = os.read(self.output_fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._split(data)
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; nothing happens when it is gone."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def signal_leader(self, number: int) -> None:
        """Send a signal to the started process alone, which passes it on in its own way."""
        if self.alive:
            os.kill(self.pid, number)

    def bury(self, exit_code: int) -> None:
        """Take note of the end: the last output is passed on and what it left in its group is killed."""
        self.signal(signal.SIGKILL)
        self.pump()
        if self._partial:
            self._say(self._partial)
        self.exit_code = self._process.returncode = exit_code
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _split(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > _MAX_LINE_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self._say(line)

    def _say(self, line: bytes) -> None:
        # A progress bar redraws its line after a carriage return: only the last state counts.
        text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
        self.last_words.append(text)
        self._console.line(self.name, text)


def describe_exit(exit_code: int) -> str:
    """How a process ended, in words: an exit status, or a signal by its name when negative."""
    if exit_code >= 0:
        return f"exited with status {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    hints = {
        signal.SIGKILL: " (the kernel does that when memory runs out)",
        signal.SIGBUS: " (usually /dev/shm is full)",
        signal.SIGILL: " (an instruction this processor lacks)",
    }
    return f"was killed by {name}{hints.get(signal.Signals(-exit_code), '') if name.startswith('SIG') else ''}"


def _die_with(parent: int) -> Callable[[], None]:
    def in_child() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return in_child
