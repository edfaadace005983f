"""An answer of /v1/responses, whole and as a stream of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import msgspec

from server.chat.records.turn_records import Source, TextPiece, TurnResult
from server.web.call.errors import ErrorBody
from server.web.invocations.stream_format import SSE_KEEP_ALIVE
from server.web.openai.chunk_stream import SSE_TYPE
from server.web.openai.response import extension, finish_reason
from server.web.openai.responses_schema import (
    CachedTokens,
    IncompleteDetails,
    OutputMessage,
    OutputText,
    ResponseBody,
    ResponseError,
    ResponseEvent,
    ResponseUsage,
)


@dataclass
class ResponseFormat:
    """The events of one streamed answer: created, the message and its part, pieces, the ends of each, the whole."""

    begun: ResponseBody
    request_id: str
    content_type = SSE_TYPE
    keep_alive = SSE_KEEP_ALIVE
    _numbers: count[int] = field(default_factory=count)

    def opening(self) -> bytes:
        """That the answer, its message and its text have begun."""
        empty = OutputMessage(self._item_id, "message", "assistant", status="in_progress", content=())
        return b"".join(
            (
                self._event("response.created", response=self.begun),
                self._event("response.in_progress", response=self.begun),
                self._event("response.output_item.added", output_index=0, item=empty),
                self._part("response.content_part.added", part=OutputText("output_text", "")),
            )
        )

    def text(self, piece: TextPiece, choice: int) -> bytes:
        """A piece of the text."""
        return self._part("response.output_text.delta", delta=piece.text, logprobs=())

    def sources(self, sources: tuple[Source, ...]) -> bytes:
        """Nothing."""
        return b""

    def result(self, result: TurnResult, choice: int) -> bytes:
        """The ends of text, part and message, and the whole answer."""
        whole = whole_response(self.begun, result, self.request_id)
        [message] = whole.output
        [part] = message.content
        return b"".join(
            (
                self._part("response.output_text.done", text=part.text, logprobs=()),
                self._part("response.content_part.done", part=part),
                self._event("response.output_item.done", output_index=0, item=message),
                self._event(f"response.{whole.status}", response=whole),
            )
        )

    def error(self, body: ErrorBody) -> bytes:
        """That the answer failed, and why."""
        failed = msgspec.structs.replace(
            self.begun, status="failed", error=ResponseError(body.error.code, body.error.message)
        )
        return self._event("response.failed", response=failed)

    def closing(self) -> bytes:
        """Nothing: the last event says that it is over."""
        return b""

    @property
    def _item_id(self) -> str:
        return item_id(self.begun)

    def _part(self, kind: str, **more: object) -> bytes:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **more)

    def _event(self, kind: str, **more: object) -> bytes:
        event = msgspec.structs.replace(ResponseEvent(kind, next(self._numbers)), **more)
        return f"event: {kind}\n".encode() + b"data: " + msgspec.json.encode(event) + b"\n\n"


def item_id(body: ResponseBody) -> str:
    """The id of the answer's only message."""
    return f"msg_{body.id.removeprefix('resp_')}"


def whole_response(begun: ResponseBody, result: TurnResult, request_id: str) -> ResponseBody:
    """The finished answer."""
    reason = finish_reason(result)
    incomplete = None
    if reason != "stop":
        incomplete = IncompleteDetails("content_filter" if reason == "content_filter" else "max_output_tokens")
    status: Literal["completed", "incomplete"] = "completed" if incomplete is None else "incomplete"
    part = OutputText("output_text", result.outputs)
    usage = result.usage
    return msgspec.structs.replace(
        begun,
        status=status,
        output=(OutputMessage(item_id(begun), "message", "assistant", status=status, content=(part,)),),
        usage=ResponseUsage(
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.prompt_tokens + usage.completion_tokens,
            input_tokens_details=CachedTokens(usage.cached_tokens),
        ),
        incomplete_details=incomplete,
        openchatkit=extension(result, request_id),
    )
