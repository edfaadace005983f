"""Functions in other processes: mapped over a stream by many, or called under limits by one that is watched."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
ATTEMPTS = 2  # a machine may be out of memory for a moment; what fails twice fails. Seconds of a core are no accident.
_WALL_FACTOR, _WALL_EXTRA_S = 4, 20  # a busy machine gives a process less than all of a core
_END_S = 5.0
OVER_TIME = "document over the time limit"
_PROGRAM = "import sys; from index_builder.processes import serve; serve(int(sys.argv[1]))"


@dataclass(frozen=True)
class Workers:
    """Who works: processes of this machine, or the tasks and actors of a Ray cluster.

    Attributes:
        number: how many; None: one a GPU, else one a core.
        ray: the cluster's address, or "local"; None: this machine's processes.
    """

    number: int | None = None
    ray: str | None = None

    @property
    def num_processes(self) -> int:
        """Processes on this machine's cores."""
        return self.number or len(os.sched_getaffinity(0))


def ordered_map(function: Callable[[Item], Answer], items: Iterable[Item], num_processes: int) -> Iterator[Answer]:
    """`function` of every item, in order; in this process when `num_processes` is 1.

    At most two items a process wait, so memory does not grow with the stream.

    Raises:
        BrokenProcessPool: a process died.
    """
    if num_processes <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pending: deque[Future[Answer]] = deque()
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * num_processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@dataclass(frozen=True)
class Budget:
    """What one call may take: seconds of a core, and bytes beyond what the process holds when it is idle."""

    cpu_s: float
    num_bytes: int


class LimitError(Exception):
    """A call that took too much, or whose process died; `cause` says which."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """A picklable function of one argument, and the argument."""

    function: Callable[[Any], Answer]
    argument: object


def watched(call: Call[Answer], budget: Budget) -> Answer:
    """What the function returns, from a process that is kept for the next call; what it raises is raised here.

    Raises:
        LimitError: it took more seconds than its budget, or failed twice otherwise.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _child().run(call, budget)
        except LimitError as error:
            _child().end()
            if attempt == ATTEMPTS or error.cause == OVER_TIME:
                raise
    raise AssertionError("unreachable")


@cache
def _child() -> _Child:
    """The one of this process: starting it takes longer than most calls."""
    return _Child()


class _Child:
    """A process that serves calls, started when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._owner = os.getpid()

    def run(self, call: Call[Answer], budget: Budget) -> Answer:
        connection = self._started()
        try:
            connection.send((call, budget))
            if not connection.poll(_WALL_FACTOR * budget.cpu_s + _WALL_EXTRA_S):
                raise LimitError(OVER_TIME, "its process gave no answer")
            kind, answer = connection.recv()
        except (EOFError, OSError) as error:
            raise self._death(budget) from error
        if kind == "returned":
            found: Answer = answer
            return found
        if kind == "memory":
            raise LimitError("document over the memory limit", f"more than {budget.num_bytes >> 20} MiB")
        raise answer

    def end(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait(_END_S)
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _started(self) -> Connection:
        if self._connection is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._connection, theirs = multiprocessing.Pipe()
            paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
            self._process = subprocess.Popen(  # not by multiprocessing, which would run the caller's script anew
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
            )
            theirs.close()
        assert self._connection is not None
        return self._connection

    def _death(self, budget: Budget) -> LimitError:
        assert self._process is not None
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            status = None
        if status == -signal.SIGXCPU:
            return LimitError(OVER_TIME, f"more than {budget.cpu_s:.0f} s of a core")
        return LimitError("document that ends its reader", f"the process ended with status {status}")


def serve(descriptor: int) -> None:
    """Answer calls that come on a socket, until it is closed at the other end."""
    connection = Connection(descriptor)
    while True:
        try:
            call, budget = connection.recv()
        except (EOFError, OSError):
            return
        _limit(budget)
        try:
            answer: tuple[str, object] = ("returned", call.function(call.argument))
        except MemoryError:
            answer = ("memory", None)
        except Exception as error:  # noqa: BLE001 - it is raised where the call came from
            answer = ("raised", error)
        _unlimit()
        connection.send(answer)


def _limit(budget: Budget) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + budget.cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + budget.num_bytes, resource.RLIM_INFINITY))


def _unlimit() -> None:
    """The answer is sent without limits."""
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _data_bytes() -> int:
    """What the limit counts: private memory that may be written."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:")) << 10
