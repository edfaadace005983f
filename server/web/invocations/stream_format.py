"""How the stream of an invocation looks: JSON lines, or server-sent events."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from flask import Request

from server.chat.records.turn_records import Source, TextPiece, TurnResult
from server.web.call.errors import ErrorBody
from server.web.invocations.schema import Pieces, invocation_body
from server.web.reading.body import JSON

SSE = "text/event-stream"
JSON_LINES = "application/jsonlines"
SSE_KEEP_ALIVE = b": keep-alive\n\n"  # a block of its own: readers by block skip it, readers by line see a comment


def asks_for_stream(request: Request, stream: bool | None) -> bool:
    """Whether the answer goes out in pieces: as the body says, else as Accept implies."""
    if stream is not None:
        return stream
    accepted = _accepted(request)
    return bool(accepted & {SSE, JSON_LINES}) and JSON not in accepted


def sse_event(message: msgspec.Struct) -> bytes:
    """One server-sent event. JSON has no line ends of its own, so one data line holds it."""
    return b"data: " + msgspec.json.encode(message) + b"\n\n"


def _line(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message) + b"\n"


@dataclass(frozen=True)
class InvocationStreamFormat:
    """The messages of one streamed invocation: pieces, last the whole answer."""

    request_id: str
    events: bool  # server-sent events, else lines

    @classmethod
    def for_request(cls, request: Request, request_id: str) -> InvocationStreamFormat:
        """Events when Accept names them, else lines."""
        return cls(request_id, SSE in _accepted(request))

    @property
    def content_type(self) -> str:
        """Of the response."""
        return f"{SSE}; charset=utf-8" if self.events else JSON_LINES

    @property
    def keep_alive(self) -> bytes:
        """Nothing to say yet. Readers of lines know no comments: an empty piece does for them."""
        return SSE_KEEP_ALIVE if self.events else self._frame(Pieces(("",)))

    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def text(self, piece: TextPiece, choice: int = 0) -> bytes:
        """A piece of the reply."""
        return self._frame(Pieces((piece.text,)))

    def sources(self, sources: tuple[Source, ...]) -> bytes:
        """An empty piece with the sources."""
        return self._frame(Pieces(("",), sources))

    def result(self, result: TurnResult, choice: int = 0) -> bytes:
        """The full record."""
        return self._frame(invocation_body(result, self.request_id))

    def error(self, body: ErrorBody) -> bytes:
        """The error, in the shape it has outside streams."""
        return self._frame(body)

    def closing(self) -> bytes:
        """Nothing."""
        return b""

    def _frame(self, message: msgspec.Struct) -> bytes:
        return sse_event(message) if self.events else _line(message)


def _accepted(request: Request) -> set[str]:
    return {kind.lower() for kind, quality in request.accept_mimetypes if quality > 0}
