"""Rank 0's end of the socket to its clients."""

from __future__ import annotations

import logging

import msgspec
import zmq

from server import wire

log = logging.getLogger(__name__)

Client = bytes  # a connection's identity, given by the socket


class RequestSocket:
    """A ROUTER socket: frames in with the client they came from, frames out to a client."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.SNDHWM, 0)  # a slow reader must not lose the end of its request
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a client that has gone is noticed
        self._socket.bind(address)

    def wait(self, timeout_s: float) -> bool:
        """Whether a frame is there, waiting at most `timeout_s`."""
        return bool(self._socket.poll(int(timeout_s * 1000)))

    def receive(self) -> list[tuple[Client, wire.ToEngine]]:
        """All frames that are there, in order; a frame that is no message is logged and dropped."""
        received: list[tuple[Client, wire.ToEngine]] = []
        while True:
            try:
                client, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return received
            message = _decoded(frames)
            if message is not None:
                received.append((client, message))

    def send(self, client: Client, message: wire.FromEngine) -> bool:
        """Queue a frame; False when the client has gone."""
        try:
            self._socket.send_multipart([client, wire.encode(message)])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def close(self) -> None:
        """Deliver what is queued for at most a second, then close."""
        self._socket.close()
        self._context.term()


def _decoded(frames: list[bytes]) -> wire.ToEngine | None:
    try:
        [frame] = frames
        return wire.decode_to_engine(frame)
    except (ValueError, msgspec.MsgspecError) as error:  # also text that is not UTF-8, and a frame too many
        log.warning("request_socket.bad_frame parts=%d bytes=%d error=%s", len(frames), sum(map(len, frames)), error)
        return None
