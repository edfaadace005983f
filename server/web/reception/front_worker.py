"""A gunicorn worker whose threads see whole requests alone, and in which nobody's answer waits for a slow client.

gunicorn's own reads head and body in the thread that answers, with no limit on the time of the whole: as many slow
clients as there are threads would hold everything up. It also waits on its main thread, up to two seconds each, for
clients that do not close.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidHeader
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from server.web.limits import table
from server.web.reception.incoming import Framing, Incoming
from server.web.reception.outgoing import Outgoing
from server.web.reception.reception import Callbacks, Reception
from server.web.reception.refusals import unreadable

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.25
# While requests are refused, more of them are gathered for so long: to be woken by each would take the processor from
# the ranks as often, which wait for each other.
_GATHER_S = 0.005

# What is asked while all threads are at work; each has a thread of its own.
_OWN_THREADS = {b"/ping": "probe", b"/health": "probe", b"/metrics": "metrics"}


class HeldRequest(Unreader):
    """Hands out the bytes of one request, and then an end: no thread ever reads from a socket."""

    def __init__(self) -> None:
        super().__init__()
        self._held = memoryview(b"")

    def hold(self, request: bytes) -> None:
        """These bytes are next."""
        self._held = memoryview(request)

    @property
    def is_used_up(self) -> bool:
        """Whether the parser has taken every byte."""
        return not self._held and not self.buf.getvalue()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next piece; a body is read in large ones, a head and what frames chunks in small ones."""
        size = max(table.HEAD_PIECE_BYTES, size_hint or 0)
        piece, rest = bytes(self._held[:size]), self._held[size:]
        self._held = rest if rest else memoryview(b"")  # an empty part would keep the whole alive
        return piece


class FrontWorker(ThreadWorker):
    """gunicorn's threaded worker behind a `Reception`."""

    def init_process(self) -> None:
        """Called in the worker's own process; returns when the worker ends."""
        self._look_again_at = 0.0
        self._num_answered_before = 0
        self._lanes = {lane: ThreadPoolExecutor(1, thread_name_prefix=lane) for lane in set(_OWN_THREADS.values())}
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        callbacks = Callbacks(
            self._hand_over, self._gone, self._refused, answer_at_once=self.wsgi.extensions["refuse_early"]
        )
        max_body_bytes = self.wsgi.extensions["front"].services.settings.max_body_bytes
        self._reception = Reception(
            self.poller, callbacks, max_body_bytes=max_body_bytes, idle_s=float(self.cfg.keepalive)
        )
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        """Called when a connection was accepted: wait for its first request."""
        conn.initialized, conn.rest, conn.unsent = True, b"", b""
        self._reception.await_request(conn)
        while self.nr_conns >= self.worker_connections and self._reception.make_room():
            log.warning("connections.full limit=%d", self.worker_connections)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Called round after round."""
        if self._reception.num_answered_at_once > self._num_answered_before:
            self._num_answered_before = self._reception.num_answered_at_once
            time.sleep(_GATHER_S)
        super().wait_for_and_dispatch_events(timeout)

    def murder_pending(self) -> None:
        """Called after every round, and at least once a second: end what is late, now and then."""
        now = time.monotonic()
        if now >= self._look_again_at:
            self._look_again_at = now + _LOOK_EVERY_S
            self._reception.expire(None if self.alive else STOP_KEEPALIVE_LINGER)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Called on the main thread when a thread has answered: wait for the next request, or let the client go."""
        self._reception.num_bytes_at_work -= conn.num_bytes
        is_kept = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        if conn.unsent:
            self._reception.send_rest(conn, conn.unsent, conn.rest if is_kept else None)
        elif is_kept:
            self._reception.await_request(conn, conn.rest)
        else:
            self._reception.let_go(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called in a thread for a request whose head gunicorn has read."""
        check_framing(req, conn.framing)
        req._expected_100_continue = False  # the reception has said so
        if conn.is_cut:
            req.force_close()
        outgoing = Outgoing(conn.sock, max(0, table.MAX_UNSENT_BYTES - self._reception.num_bytes_unsent))
        conn.sock = outgoing
        try:
            return super().handle_request(req, conn)
        finally:
            conn.sock, conn.unsent = outgoing.sock, bytes(outgoing.unsent)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Called for whatever goes wrong outside the application."""
        answer = unreadable(exc)
        if answer is None:
            super().handle_error(req, client, addr, exc)
            return
        log.warning("head.refused error=%s", type(exc).__name__)
        with suppress(OSError):
            write_nonblock(client, answer)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Whether what comes next on the connection is the beginning of a request, beyond doubt."""
        return bool(keepalive) and not conn.is_cut and conn.parser.finish_body() and conn.held.is_used_up

    def _hand_over(self, conn: Any, incoming: Incoming) -> None:
        if conn.parser is None:  # its first request that takes a thread
            conn.held, conn.parser = HeldRequest(), RequestParser(self.cfg, [], conn.client)
            conn.parser.unreader = conn.held
        request, conn.rest = incoming.split()
        conn.framing, conn.is_cut, conn.num_bytes = incoming.framing, incoming.is_cut, len(request)
        conn.unsent = b""
        conn.held.hold(request)
        self._reception.num_bytes_at_work += conn.num_bytes
        future = self._lane(incoming.target).submit(self.handle, conn)
        future.add_done_callback(partial(self.method_queue.defer, self.finish_request, conn))

    def _lane(self, target: bytes) -> Executor:
        name = _OWN_THREADS.get(target)
        lane: Executor = self.tpool if name is None else self._lanes[name]
        return lane

    def _gone(self, _connection: Any) -> None:
        self.nr_conns -= 1

    def _refused(self, status: HTTPStatus, code: str) -> None:
        self.wsgi.extensions["front"].metrics.request_ended("unmatched", status.value, code, seconds=0.0)


def check_framing(req: Any, framing: Framing | None) -> None:
    """Refuse a request whose end gunicorn sees elsewhere than the reception. Raises InvalidHeader."""
    reader = req.body.reader
    length = reader.length if isinstance(reader, LengthReader) else None
    known = isinstance(reader, LengthReader | ChunkedReader)
    if framing is None or not known or length != framing.length:
        raise InvalidHeader("CONTENT-LENGTH", req=req)
