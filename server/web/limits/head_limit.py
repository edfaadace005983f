"""A gunicorn worker that gives up on clients which do not finish the head of their request.

gunicorn reads a head in a thread of its pool with no limit on time, before the application is called, so that as many
half-sent heads as there are threads would hold everything up, /ping included.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from server.web.limits import table
from server.web.limits.unreadable_head import refusal

_LOOK_EVERY_S = 0.5

log = logging.getLogger(__name__)


class Heads:
    """The connections whose heads are being read, with the time at which each must be done. Thread-safe."""

    def __init__(self) -> None:
        self._done_by: dict[Any, float] = {}
        self._lock = threading.Lock()

    def begin(self, connection: Any) -> None:
        """A head is about to be read from `connection.sock`."""
        with self._lock:
            self._done_by[connection] = time.monotonic() + table.LONGEST_HEAD_S

    def end(self, connection: Any) -> None:
        """The head has been read, or never will be."""
        with self._lock:
            self._done_by.pop(connection, None)

    def cut_late(self) -> None:
        """End the connections that are late; their threads then read an end, and close them without a wait."""
        with self._lock:
            now = time.monotonic()
            late = [connection for connection, done_by in self._done_by.items() if done_by <= now]
            for connection in late:
                del self._done_by[connection]
                _shut(connection.sock)
        if late:
            log.warning("head.late connections=%d limit_s=%g", len(late), table.LONGEST_HEAD_S)


class HeadLimitWorker(ThreadWorker):
    """gunicorn's threaded worker, with a limit on the time that a head may take."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heads = Heads()

    def init_process(self) -> None:
        """Called in the worker's own process; returns when the worker ends."""
        threading.Thread(target=self._watch, daemon=True, name="heads").start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Called in a thread of the pool when a connection has, or may soon have, something to read."""
        self._heads.begin(conn)
        try:
            return super().handle(conn)
        finally:
            self._heads.end(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called by `handle` once the head is read."""
        self._heads.end(conn)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Called for whatever goes wrong outside the application."""
        answer = refusal(exc)
        if answer is None:
            super().handle_error(req, client, addr, exc)
            return
        log.warning("head.refused error=%s", type(exc).__name__)
        with suppress(OSError):
            write_nonblock(client, answer)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            self._heads.cut_late()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the client was faster
        log.debug("head.gone")
