"""Turns as a stream over HTTP: moderated pieces go out as they come, and whatever happens it ends cleanly."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

from flask import Response

from server.chat.records.turn_records import (
    FoundSources,
    KeepAlive,
    Source,
    TextPiece,
    TurnEvent,
    TurnRequest,
    TurnResult,
)
from server.errors import ServiceError
from server.web.call.errors import ErrorBody, error_body, shutdown_body, unexpected_error
from server.web.call.exchange import Exchange
from server.web.call.front import Front
from server.web.invocations.merged import merged

log = logging.getLogger(__name__)

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class StreamFormat(Protocol):
    """What a stream's messages look like. `choice` counts the replies to one prompt, from 0."""

    @property
    def content_type(self) -> str:
        """Of the response."""
        ...

    @property
    def keep_alive(self) -> bytes:
        """Nothing to say yet."""
        ...

    def opening(self) -> bytes:
        """What goes first; may be empty."""
        ...

    def text(self, piece: TextPiece, choice: int) -> bytes:
        """A piece of a reply."""
        ...

    def sources(self, sources: tuple[Source, ...]) -> bytes:
        """What stands in the prompt of all replies; may be empty."""
        ...

    def result(self, result: TurnResult, choice: int) -> bytes:
        """The record of an answered turn."""
        ...

    def error(self, body: ErrorBody) -> bytes:
        """The end of a stream that failed."""
        ...

    def closing(self) -> bytes:
        """What goes last, whatever happened; may be empty."""
        ...


def stream_turns(
    front: Front, exchange: Exchange, requests: Sequence[TurnRequest], stream_format: StreamFormat
) -> Response:
    """The response that streams one turn, or several as choices of one answer. Closing it, as the server does when the
    client has left, cancels them.

    Raises:
        ServiceError: a turn failed before the first event; a later failure is an error inside the stream.
    """
    exchange.reserve(requests)
    streams = [front.services.turns.stream(request) for request in requests]
    events = merged(streams)
    first = next(events)
    writer = _Writer(front, exchange, stream_format)
    body = writer.write(chain([first], events))
    response = Response(body, content_type=stream_format.content_type, headers=_HEADERS)
    response.call_on_close(events.close)  # also when the body was never begun
    return response


class _Writer:
    """Turns events into bytes."""

    def __init__(self, front: Front, exchange: Exchange, stream_format: StreamFormat) -> None:
        self._front = front
        self._exchange = exchange
        self._format = stream_format
        self._sent: defaultdict[int, str] = defaultdict(str)

    def write(self, events: Iterator[tuple[int, TurnEvent]]) -> Iterator[bytes]:
        if opening := self._format.opening():
            yield opening
        yield from self._guarded(events)
        if closing := self._format.closing():
            yield closing

    def _guarded(self, events: Iterator[tuple[int, TurnEvent]]) -> Iterator[bytes]:
        try:
            for choice, event in events:
                yield from self._message(choice, event)
                if self._front.drain.overdue and not isinstance(event, TurnResult):
                    yield self._shutdown()
                    return
        except ServiceError as error:
            yield self._failure(error)
        except Exception:
            log.exception("stream.failed id=%s", self._exchange.request_id)
            yield self._failure(unexpected_error())

    def _message(self, choice: int, event: TurnEvent) -> Iterator[bytes]:
        if isinstance(event, KeepAlive):
            yield self._format.keep_alive
        elif isinstance(event, FoundSources):
            if choice == 0 and (message := self._format.sources(event.sources)):
                yield message
        elif isinstance(event, TextPiece):
            yield self._text(choice, event)
        elif isinstance(event, TurnResult):
            yield from self._end(choice, event)

    def _text(self, choice: int, piece: TextPiece) -> bytes:
        self._exchange.note_text()
        self._sent[choice] += piece.text
        return self._format.text(piece, choice)

    def _end(self, choice: int, result: TurnResult) -> Iterator[bytes]:
        self._exchange.note_result(result)
        if result.finish_reason.startswith("moderated") and not self._sent[choice].endswith(result.outputs):
            yield self._text(choice, TextPiece(result.outputs))  # readers of pieces alone must see the override message
        if result.finish_reason == "shutdown":
            shutdown = self._shutdown()
            if not self._exchange.is_openai:  # whose clients raise at an error, and would lose how the reply ended
                yield shutdown
        yield self._format.result(result, choice)

    def _shutdown(self) -> bytes:
        body = shutdown_body(self._exchange.request_id, openai=self._exchange.is_openai)
        self._exchange.code = body.error.code
        return self._format.error(body)

    def _failure(self, error: ServiceError) -> bytes:
        self._exchange.code = error.code.value
        return self._format.error(error_body(error, self._exchange.request_id, openai=self._exchange.is_openai))
