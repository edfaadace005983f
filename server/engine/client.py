"""The front's end of the socket to one group's rank 0. No torch here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import zmq
from zmq.utils.monitor import recv_monitor_message

from server import wire
from server.engine.engine import Engine, lost
from server.errors import ErrorCode

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 64  # messages


class EngineClient(Engine):
    """Work for the engine group, from any thread.

    One thread of its own holds the socket. When the connection breaks, everything pending fails at once with
    ENGINE_UNAVAILABLE; the socket reconnects by itself and the group is used again after its next `Welcome`.
    """

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._pending: dict[str, Callable[[wire.FromEngine], None]] = {}
        self._pending_lock = threading.Lock()
        self._outbox = self._context.socket(zmq.PUSH)
        self._outbox.setsockopt(zmq.LINGER, 0)
        self._outbox.bind("inproc://outbox")
        self._outbox_lock = threading.Lock()
        self._welcome: wire.Welcome | None = None
        self._status: wire.Status | None = None
        self._status_at = 0.0
        self._closing = threading.Event()
        self._welcomed = threading.Event()
        self._thread = threading.Thread(target=self._exchange, args=(address,), daemon=True, name="engine-client")
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the group has welcomed this client and the connection stands."""
        return self._welcome is not None

    @property
    def welcome(self) -> wire.Welcome | None:
        """What the group serves; None while there is none."""
        return self._welcome

    @property
    def status(self) -> wire.Status | None:
        """The group's last status."""
        return self._status

    @property
    def status_age_s(self) -> float:
        """Seconds since the last status."""
        return time.monotonic() - self._status_at

    @property
    def groups(self) -> Sequence[Engine]:
        """The one group."""
        return (self,)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait for the group's welcome."""
        return self._welcomed.wait(timeout_s)

    def start(self, request: wire.Generate | wire.Score, deliver: Callable[[wire.FromEngine], None]) -> None:
        """Send `request`; `deliver` gets its messages on the client's own thread, one ending among them, then no more.

        Raises:
            ServiceError: the group is not ready.
        """
        with self._pending_lock:
            if self._welcome is None or self._closing.is_set():
                raise lost("the engine group is not ready")
            assert request.request_id not in self._pending, request.request_id
            self._pending[request.request_id] = deliver
        self._send(wire.encode(request))

    def cancel(self, request_id: str) -> None:
        """Stop a request and deliver nothing more of it; one that has ended is left alone."""
        with self._pending_lock:
            known = self._pending.pop(request_id, None)
        if known is not None and self.ready:
            self._send(wire.encode(wire.Cancel(request_id)))

    def close(self) -> None:
        """Fail what is pending and close the socket."""
        self._closing.set()
        self._send(b"")
        self._thread.join(5)
        self._outbox.close()
        self._context.destroy(0)

    def _send(self, frame: bytes) -> None:
        with self._outbox_lock:
            self._outbox.send(frame)

    def _exchange(self, address: str) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        monitor = socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        outbox = self._context.socket(zmq.PULL)
        outbox.connect("inproc://outbox")
        socket.connect(address)
        poller = zmq.Poller()
        for each in (socket, monitor, outbox):
            poller.register(each, zmq.POLLIN)
        while not self._closing.is_set():
            ready = dict(poller.poll())
            if monitor in ready:
                self._on_connection(socket, recv_monitor_message(monitor)["event"])
            if outbox in ready and (frame := outbox.recv()):
                socket.send(frame)
            if socket in ready:
                self._deliver_all(socket)
        self._lose_all("the server is shutting down")
        socket.disable_monitor()
        for each in (socket, monitor, outbox):
            each.close(0)

    def _on_connection(self, socket: zmq.Socket[bytes], event: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            socket.send(wire.encode(wire.Hello()))
        else:
            self._lose_all("the engine group was lost while it worked on this request")

    def _deliver_all(self, socket: zmq.Socket[bytes]) -> None:
        """What is there by now, of which a step brings much at once; what is to be sent does not wait for ever."""
        with suppress(zmq.Again):
            for _ in range(_MOST_AT_ONCE):
                self._deliver(wire.decode_from_engine(socket.recv(zmq.NOBLOCK)))

    def _deliver(self, message: wire.FromEngine) -> None:
        if isinstance(message, wire.Welcome):
            log.info(
                "engine.welcome world=%d dtype=%s models=%s", message.world, message.dtype, ",".join(message.models)
            )
            self._welcome, self._status_at = message, time.monotonic()
            self._welcomed.set()
        elif isinstance(message, wire.Status):
            self._status, self._status_at = message, time.monotonic()
        else:
            self._hand_over(message)

    def _hand_over(self, message: wire.Piece | wire.Finished | wire.Scored | wire.Failed) -> None:
        with self._pending_lock:
            if isinstance(message, wire.Piece):
                deliver = self._pending.get(message.request_id)
            else:
                deliver = self._pending.pop(message.request_id, None)
        if deliver is not None:  # otherwise the request was cancelled
            deliver(message)

    def _lose_all(self, why: str) -> None:
        with self._pending_lock:
            self._welcome, self._status = None, None
            self._welcomed.clear()
            lost, self._pending = self._pending, {}
        for request_id, deliver in lost.items():
            deliver(wire.Failed(request_id, ErrorCode.ENGINE_UNAVAILABLE, why, retry_after_s=5.0))
