"""Every connection from which nothing is due to a thread: requests on their way in, and what is idle or closing.

All of it happens on the worker's main thread, which never waits for one client. A client that is slow, or says
nothing, costs its own bytes and a descriptor, never a thread.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from server.web.limits import table
from server.web.reception.incoming import Incoming, Unacceptable
from server.web.reception.refusals import response

_PIECE_BYTES = 256 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Guest:
    """One connection. `connection` is gunicorn's, with the socket in `sock`."""

    connection: Any
    since: float
    incoming: Incoming | None = None  # None: it is closing, or has yet to take its answer
    num_dropped: int = 0
    unsent: memoryview = field(default=memoryview(b""))  # of its answer
    due_at: float = 0.0  # when it must have taken that
    rest: bytes | None = None  # what came behind the request that is being answered; None: it is let go then

    @property
    def num_bytes(self) -> int:
        """What it holds of our memory."""
        return 0 if self.incoming is None else self.incoming.num_bytes


@dataclass
class Callbacks:
    """What becomes of a connection.

    Attributes:
        hand_over: a request is there, with what came behind it.
        gone: the connection is closed.
        refused: a request was answered here with this status.
        answer_at_once: the whole answer to a request of moderate size, where it needs no thread; None where it does.
    """

    hand_over: Callable[[Any, Incoming], None]
    gone: Callable[[Any], None]
    refused: Callable[[HTTPStatus, str], None] = field(default=lambda _status, _code: None)
    answer_at_once: Callable[[bytes], bytes | None] = field(default=lambda _request: None)


class Reception:
    """Receives requests over `poller`, whose events must be dispatched by calling their data with the file object."""

    def __init__(self, poller: selectors.BaseSelector, callbacks: Callbacks, *, max_body_bytes: int, idle_s: float):
        self._poller = poller
        self._callbacks = callbacks
        self._max_body_bytes = max_body_bytes
        self._idle_s = idle_s
        self._guests: dict[int, Guest] = {}  # by file descriptor
        self._num_bytes = 0
        self.num_answered_at_once = 0
        self.num_bytes_at_work = 0  # of requests that were handed over, as whoever has them says
        self.num_bytes_unsent = 0  # of answers

    def await_request(self, connection: Any, begun: bytes = b"") -> None:
        """Wait for the connection's next request, of which `begun` has come with the one before it."""
        now = time.monotonic()
        guest = Guest(connection, now, Incoming(now, self._max_body_bytes))
        if not self._watch(guest):
            return
        if begun:
            self._take(guest, begun)

    def let_go(self, connection: Any) -> None:
        """Close once the client has what was sent: a socket with unread bytes would be reset, and the answer lost."""
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_WR)
        self._watch(Guest(connection, time.monotonic()))

    def send_rest(self, connection: Any, unsent: bytes, rest: bytes | None) -> None:
        """Send what its thread has left of an answer; then wait for the next request, of which `rest` has come, or let
        the client go where that is None.
        """
        now = time.monotonic()
        due_at = now + table.LONGEST_WAIT_S + len(unsent) / table.LEAST_BODY_BYTES_S
        self.num_bytes_unsent += len(unsent)
        guest = Guest(connection, now, unsent=memoryview(unsent), due_at=due_at, rest=rest)
        self._watch(guest, selectors.EVENT_WRITE)

    def expire(self, idle_s: float | None = None) -> None:
        """End what is late. `idle_s`: how long a connection may be silent between requests, if not as usual."""
        now = time.monotonic()
        for guest in list(self._guests.values()):
            if guest.unsent:
                if now > guest.due_at:
                    self._leave(guest)
            elif guest.incoming is None:
                if now - guest.since > table.LONGEST_CLOSING_S:
                    self._leave(guest)
            elif not guest.num_bytes:
                if now - guest.since > (self._idle_s if idle_s is None else idle_s):
                    self._leave(guest)
            elif now > guest.incoming.due_at:
                self._end_late(guest)

    def make_room(self) -> bool:
        """End the connection that is missed least: a closing one, an idle one, or the slowest. False: there is none."""
        if not self._guests:
            return False
        guest = min(self._guests.values(), key=lambda each: (each.num_bytes > 0 or bool(each.unsent), each.since))
        self._leave(guest)
        return True

    def _watch(self, guest: Guest, event: int = selectors.EVENT_READ) -> bool:
        """Look out for what the guest sends, or for room to send it more. False: it has gone."""
        sock = guest.connection.sock
        try:
            sock.setblocking(False)
            self._poller.register(
                sock, event, self._on_readable if event == selectors.EVENT_READ else self._on_writable
            )
        except (OSError, ValueError):
            self.num_bytes_unsent -= len(guest.unsent)
            self._close(guest.connection)
            return False
        self._guests[sock.fileno()] = guest
        return True

    def _make_memory(self) -> None:
        """End the request that has been coming for the longest with more than a little."""
        large = [each for each in self._guests.values() if each.num_bytes > _PIECE_BYTES]
        if large:
            slowest = min(large, key=lambda each: each.since)
            self._refuse(
                slowest, HTTPStatus.TOO_MANY_REQUESTS, "queue_full", "too many large requests are on their way"
            )

    def _on_readable(self, sock: Any) -> None:
        guest = self._guests.get(sock.fileno())
        if guest is not None:  # else it left in the same round
            self._read(guest)

    def _on_writable(self, sock: Any) -> None:
        guest = self._guests.get(sock.fileno())
        if guest is not None and guest.unsent:
            self._send(guest)

    def _send(self, guest: Guest) -> None:
        try:
            num_sent = guest.connection.sock.send(guest.unsent[:_PIECE_BYTES])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._leave(guest)
            return
        guest.unsent = guest.unsent[num_sent:]
        self.num_bytes_unsent -= num_sent
        if guest.unsent:
            return
        self._forget(guest)
        if guest.rest is None:
            self.let_go(guest.connection)
        else:
            self.await_request(guest.connection, guest.rest)

    def _read(self, guest: Guest) -> None:
        try:
            piece = guest.connection.sock.recv(_PIECE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._leave(guest)
            return
        if guest.incoming is None:
            self._drop(guest, piece)
        elif piece:
            self._take(guest, piece)
        elif guest.incoming.take_end():
            self._hand_over(guest)
        else:
            self._leave(guest)

    def _take(self, guest: Guest, piece: bytes) -> None:
        assert guest.incoming is not None
        if not guest.num_bytes:  # the time of a request begins with its first byte
            guest.since = time.monotonic()
            guest.incoming = Incoming(guest.since, self._max_body_bytes)
        if self._num_bytes + self.num_bytes_at_work + len(piece) > table.MAX_RECEIVED_BYTES:
            self._make_memory()
            if self._guests.get(guest.connection.sock.fileno()) is not guest:
                return
        knew_head, self._num_bytes = guest.incoming.framing is not None, self._num_bytes + len(piece)
        try:
            is_whole = guest.incoming.take(piece)
        except Unacceptable as error:
            self._refuse(guest, error.status, error.code, error.message)
            return
        if is_whole:
            if not self._answered_at_once(guest):
                self._hand_over(guest)
        elif not knew_head and guest.incoming.framing is not None and guest.incoming.framing.expects_continue:
            with suppress(OSError):
                guest.connection.sock.send(_CONTINUE)

    def _drop(self, guest: Guest, piece: bytes) -> None:
        guest.num_dropped += len(piece)
        if not piece or guest.num_dropped > table.MAX_DROPPED_BYTES:
            self._leave(guest)

    def _answered_at_once(self, guest: Guest) -> bool:
        """Whether the request is answered, and the connection waits for its next one."""
        assert guest.incoming is not None
        if guest.incoming.is_cut or guest.num_bytes > table.MAX_HEAD_BYTES:
            return False
        request, rest = guest.incoming.split()
        answer = None if rest else self._callbacks.answer_at_once(request)
        if answer is None:
            return False
        self.num_answered_at_once += 1
        self._num_bytes -= guest.num_bytes
        guest.since = time.monotonic()
        guest.incoming = Incoming(guest.since, self._max_body_bytes)
        is_sent = False
        with suppress(OSError):
            is_sent = guest.connection.sock.send(answer) == len(answer)
        if not is_sent or not _keeps_alive(request):
            self._forget(guest)
            self.let_go(guest.connection)
        return True

    def _hand_over(self, guest: Guest) -> None:
        assert guest.incoming is not None
        self._forget(guest)
        self._callbacks.hand_over(guest.connection, guest.incoming)

    def _end_late(self, guest: Guest) -> None:
        assert guest.incoming is not None
        what = "head" if guest.incoming.framing is None else "body"
        message = (
            f"the request's {what} did not come in time: {guest.num_bytes} bytes in "
            f"{time.monotonic() - guest.since:.0f} s; a head has {table.LONGEST_HEAD_S:g} s, a body as much and a "
            f"second for every {table.LEAST_BODY_BYTES_S} bytes of it"
        )
        self._refuse(guest, HTTPStatus.REQUEST_TIMEOUT, "request_timeout", message)

    def _refuse(self, guest: Guest, status: HTTPStatus, code: str, message: str) -> None:
        self._forget(guest)
        log.warning("request.refused status=%d code=%s bytes=%d", status, code, guest.num_bytes)
        self._callbacks.refused(status, code)
        is_passing = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
        with suppress(OSError):
            guest.connection.sock.send(
                response(status, code, message, retry_after_s=table.RETRY_AFTER_S if is_passing else None)
            )
        self.let_go(guest.connection)

    def _leave(self, guest: Guest) -> None:
        self._forget(guest)
        self._close(guest.connection)

    def _forget(self, guest: Guest) -> None:
        self._num_bytes -= guest.num_bytes
        self.num_bytes_unsent -= len(guest.unsent)
        del self._guests[guest.connection.sock.fileno()]
        self._poller.unregister(guest.connection.sock)

    def _close(self, connection: Any) -> None:
        with suppress(OSError):
            connection.close()
        self._callbacks.gone(connection)


def _keeps_alive(request: bytes) -> bool:
    """Whether the client goes on using the connection; in doubt not."""
    head = request.partition(b"\r\n\r\n")[0].lower()
    return b" http/1.1\r\n" in head and b"\r\nconnection: close" not in head
