"""Everything the supervisor waits for: signals, the output of its children, and their ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
from dataclasses import dataclass
from types import FrameType, TracebackType

from container.console import Console
from container.supervision.child import Child, Command

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TAKEN = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Seen:
    """What happened during one wait."""

    stop_asked: bool
    ended: tuple[Child, ...]
    reload_asked: bool = False  # by SIGHUP


class Watch:
    """Owns all children of this process: starts them, passes their output on, reaps them and every orphan.

    Use it as a context manager in the main thread; it takes SIGTERM, SIGINT, SIGHUP and SIGCHLD while it is entered,
    and on leaving it kills the children that are left.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def __enter__(self) -> Watch:
        # Orphans of our children come to us, as they do by themselves where we are PID 1.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._before = {number: signal.signal(number, _wake_only) for number in _TAKEN}
        self._fd_before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in list(self._children.values()):
            child.signal(signal.SIGKILL)
        while self._children:
            pid, status = os.waitpid(next(iter(self._children)), 0)
            self._bury(pid, status)
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def spawn(self, command: Command) -> Child:
        """Start a child. Raises OSError when the program cannot be started."""
        child = Child(command, self._console)
        self._children[child.pid] = child
        self._selector.register(child.output_fd, selectors.EVENT_READ, child)
        return child

    def wait(self, timeout_s: float | None) -> Seen:
        """Sleep until something happens or the time is over; output is passed on and the dead are reaped."""
        signals: set[int] = set()
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                signals.update(self._woken_by())
            elif not key.data.pump():
                self._selector.unregister(key.fd)
        return Seen(not signals.isdisjoint(_STOP_SIGNALS), tuple(self._reap()), signal.SIGHUP in signals)

    def _woken_by(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._wake_read, 4096)
        return b""

    def _reap(self) -> list[Child]:
        ended = []
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if child := self._bury(*found):
                    ended.append(child)
        return ended

    def _bury(self, pid: int, status: int) -> Child | None:
        child = self._children.pop(pid, None)
        if child is None:
            return None  # an orphan of one of our children
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.output_fd)
        child.bury(os.waitstatus_to_exitcode(status))
        return child


def _wake_only(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor carries the signal's number; nothing is done inside the handler."""
