"""One process works on a folder; the others wait, and not for ever."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from server.artifacts.error import ArtifactError

_POLL_S = 0.1


class FolderLock:
    """An advisory lock on `folder`, kept in a file beside it; the kernel frees it when its holder dies.

    Args:
        deadline_s: how long to wait for another holder.
        on_wait: called once with the holder's process id when there is one.
    """

    def __init__(self, folder: Path, deadline_s: float, on_wait: Callable[[str], None] | None = None) -> None:
        self._path = folder.with_name(f".{folder.name}.lock")
        self._deadline_s = deadline_s
        self._on_wait = on_wait
        self._descriptor: int | None = None

    def __enter__(self) -> FolderLock:
        """Take the lock.

        Raises:
            ArtifactError: another process holds it beyond the deadline.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)  # the lock goes with it; the file stays, or a waiter would hold a deleted one
        self._descriptor = None

    def _wait(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._deadline_s
        waited = False
        while not _taken(descriptor):
            holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
            if time.monotonic() > deadline:
                raise ArtifactError(
                    f"{self._path}: process {holder} held the lock for more than {self._deadline_s:g} s"
                )
            if not waited and self._on_wait is not None:
                self._on_wait(holder)
            waited = True
            time.sleep(_POLL_S)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
