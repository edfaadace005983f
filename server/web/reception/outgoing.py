"""An answer on its way out of a thread, which does not wait for a client to take what is whole already."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: ", re.IGNORECASE)


class Outgoing:
    """A client's socket, as gunicorn writes one answer to it: the head first.

    Of an answer whose length the head tells, what the client has no room for is kept in `unsent`, `room` bytes at most.
    A stream is written as ever, and its thread waits: its text is only being made.
    """

    def __init__(self, sock: socket.socket, room: int) -> None:
        self.sock = sock
        self.unsent = bytearray()
        self._room = room
        self._is_whole: bool | None = None  # None: the head has not come

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def sendall(self, data: bytes) -> None:
        """Take all of `data`. Raises OSError for a client that has left, or that is waited for in vain."""
        if self._is_whole is None:
            self._is_whole = _LENGTH.search(data) is not None
        rest = data if self.unsent or not self._is_whole else data[self._sent_at_once(data) :]
        if self._is_whole and len(self.unsent) + len(rest) <= self._room:
            self.unsent += rest
            return
        before, self.unsent = self.unsent, bytearray()  # it is not sent again after a write that fails half way
        self.sock.sendall(before + rest if before else rest)

    def _sent_at_once(self, data: bytes) -> int:
        left, timeout_s = memoryview(data), self.sock.gettimeout()
        self.sock.setblocking(False)
        try:
            with suppress(BlockingIOError):
                while left:
                    left = left[self.sock.send(left) :]
        finally:
            self.sock.settimeout(timeout_s)
        return len(data) - len(left)
