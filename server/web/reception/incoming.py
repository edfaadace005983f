"""The bytes of one request as they come, until they are all there. No sockets here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from server.web.limits import table

_HEAD_END, _LINE_END = b"\r\n\r\n", b"\r\n"
_TARGET = re.compile(rb"[A-Z]+ ([^ ?]*)")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Unacceptable(Exception):
    """A request that is refused unread: `status`, a word for clients and a sentence."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Framing:
    """Where a request's body ends, as its head says.

    Attributes:
        length: bytes of the body; None for one in chunks.
        is_odd: the head says it in a way that gunicorn refuses, which it shall do.
    """

    length: int | None = 0
    expects_continue: bool = False
    is_odd: bool = False


class Incoming:
    """One request on its way in.

    Attributes:
        is_cut: whether it is to be answered without the rest of its body, after which nothing on the connection is
            known to be the beginning of a request.
    """

    def __init__(self, began: float, max_body_bytes: int) -> None:
        self._bytes = bytearray()
        self._began = began
        self._max_body_bytes = max_body_bytes
        self._searched = 0
        self._body_at = 0
        self._framing: Framing | None = None
        self._chunks: _Chunks | None = None
        self._end: int | None = None
        self.is_cut = False

    @property
    def num_bytes(self) -> int:
        """That have come; some of them may be of the next request."""
        return len(self._bytes)

    @property
    def framing(self) -> Framing | None:
        """None until the head is there."""
        return self._framing

    @property
    def target(self) -> bytes:
        """The path that is asked for, as it was sent; empty where there is none to be read."""
        found = _TARGET.match(self._bytes)
        return found[1] if found else b""

    @property
    def due_at(self) -> float:
        """When it must be whole, at the pace so far: a drip has no longer than silence."""
        num_body_bytes = len(self._bytes) - self._body_at if self._body_at else 0
        return self._began + table.LONGEST_HEAD_S + num_body_bytes / table.LEAST_BODY_BYTES_S

    def take(self, piece: bytes) -> bool:
        """Whether the request is whole with these bytes, or need not be.

        Raises:
            Unacceptable: a head or a body that is never taken.
        """
        self._bytes += piece
        if self._framing is None and not self._find_head():
            return False
        if self._end is None:
            self._end = self._find_end()
        return self._end is not None

    def take_end(self) -> bool:
        """No more will come. Whether there is a head to be answered."""
        self._end, self.is_cut = len(self._bytes), True
        return bool(self._bytes)

    def split(self) -> tuple[bytes, bytes]:
        """The request, and what came behind it."""
        assert self._end is not None
        return bytes(self._bytes[: self._end]), bytes(self._bytes[self._end :])

    def _find_head(self) -> bool:
        while self._bytes.startswith(_LINE_END):  # lines before the first do not count
            del self._bytes[:2]
        at = self._bytes.find(_HEAD_END, max(0, self._searched - 3))
        self._searched = len(self._bytes)
        if at < 0 or at > table.MAX_HEAD_BYTES:
            if len(self._bytes) > table.MAX_HEAD_BYTES:
                message = f"the head of the request has more than {table.MAX_HEAD_BYTES} bytes"
                raise Unacceptable(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)
            return False
        self._body_at = at + len(_HEAD_END)
        self._framing = framing(bytes(self._bytes[:at]))
        if self._framing.length is None:
            self._chunks = _Chunks(self._body_at)
        return True

    def _find_end(self) -> int | None:
        assert self._framing is not None
        if self._framing.is_odd:
            return self._cut()
        if self._chunks is not None:
            return self._end_of_chunks(self._chunks)
        length = self._framing.length or 0
        if length > self._max_body_bytes:  # the application refuses it by its announced length
            return self._cut()
        end = self._body_at + length
        return end if len(self._bytes) >= end else None

    def _end_of_chunks(self, chunks: _Chunks) -> int | None:
        end = chunks.end(self._bytes)
        if len(self._bytes) > 2 * self._max_body_bytes + table.MAX_HEAD_BYTES:
            message = "the body's chunks have more bytes around them than in them"
            raise Unacceptable(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", message)
        # The application reads no further than the limit, and finds that there is more.
        if end is None and (chunks.is_odd or chunks.num_bytes > self._max_body_bytes + table.BODY_READ_AHEAD_BYTES):
            return self._cut()
        return end

    def _cut(self) -> int:
        self.is_cut = True
        return len(self._bytes)


class _Chunks:
    """Follows a body in chunks to its end; `num_bytes` are those of the body so far, without what frames them."""

    def __init__(self, at: int) -> None:
        self._at = at  # of the line that says how large the next chunk is
        self._passed = 0
        self._num_chunks = 0
        self.num_bytes = 0
        self.is_odd = False

    def end(self, data: bytearray) -> int | None:
        """Where the body ends; None when it is not there, or `is_odd`."""
        while True:
            line_end = data.find(_LINE_END, self._at, self._at + table.MAX_CHUNK_LINE_BYTES)
            if line_end < 0:
                self.is_odd = len(data) - self._at > table.MAX_CHUNK_LINE_BYTES
                return None
            size = _HEX.fullmatch(data[self._at : line_end].split(b";", 1)[0].rstrip(b" \t"))
            if size is None:
                self.is_odd = True
                return None
            num_bytes = int(size[0], 16)
            if num_bytes == 0:
                return self._end_of_trailers(data, line_end)
            self.num_bytes = self._passed + min(num_bytes, max(0, len(data) - line_end - 2))
            after = line_end + 2 + num_bytes + 2
            if after > len(data):
                return None
            self._at, self._passed = after, self._passed + num_bytes
            self._count()

    def _count(self) -> None:
        self._num_chunks += 1
        if self._num_chunks > table.MAX_CHUNKS:
            message = f"the body comes in more than {table.MAX_CHUNKS} chunks, which is the most that is taken"
            raise Unacceptable(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", message)

    def _end_of_trailers(self, data: bytearray, line_end: int) -> int | None:
        if data.startswith(_LINE_END, line_end + 2):
            return line_end + 4
        at = data.find(_HEAD_END, line_end + 2)
        self.is_odd = at < 0 and len(data) - line_end > table.MAX_HEAD_BYTES
        return None if at < 0 else at + len(_HEAD_END)


def framing(head: bytes) -> Framing:
    """What the lines of a head, without the empty one at its end, say of the body."""
    parts = [line.partition(b":") for line in head.split(_LINE_END)[1:]]
    fields = [(name.strip().lower(), value.strip(b" \t")) for name, _, value in parts]
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in fields)
    if not lengths and not codings:
        return Framing()
    if codings:
        is_plain = not lengths and len(codings) == 1 and codings[0].lower() == b"chunked"
        return Framing(None, expects, is_odd=not is_plain)
    is_plain = len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= 15
    return Framing(int(lengths[0]) if is_plain else 0, expects, is_odd=not is_plain)
