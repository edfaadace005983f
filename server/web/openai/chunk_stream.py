"""The stream of a chat completion: OpenAI's chunks as server-sent events."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from server.chat.records.turn_records import TurnResult
from server.web.call.errors import ErrorBody
from server.web.invocations.stream_format import SSE, SSE_KEEP_ALIVE, sse_event
from server.web.openai.response import (
    ChatCompletionChunk,
    ChunkChoice,
    CompletionUsage,
    Delta,
    Extension,
    FinishReason,
    completion_usage,
    extension,
    finish_reason,
)


@dataclass(frozen=True)
class ChatChunkFormat:
    """The messages of one streamed completion: a role, pieces, a finish reason, usage when asked for, the end mark."""

    request_id: str
    model: str
    created: int
    with_usage: bool

    @property
    def content_type(self) -> str:
        """Of the response."""
        return f"{SSE}; charset=utf-8"

    @property
    def keep_alive(self) -> bytes:
        """A comment."""
        return SSE_KEEP_ALIVE

    def opening(self) -> bytes:
        """The role."""
        return self._chunk(Delta(role="assistant", content=""))

    def text(self, text: str) -> bytes:
        """A piece of the reply."""
        return self._chunk(Delta(content=text))

    def result(self, result: TurnResult) -> bytes:
        """The finish reason, and the usage where it was asked for."""
        last = self._chunk(Delta(), finish_reason(result), extension(result, self.request_id))
        usage = sse_event(self._envelope((), completion_usage(result))) if self.with_usage else b""
        return last + usage

    def error(self, body: ErrorBody) -> bytes:
        """The error, which OpenAI's clients raise."""
        return sse_event(body)

    def closing(self) -> bytes:
        """The end mark."""
        return b"data: [DONE]\n\n"

    def _chunk(self, delta: Delta, reason: FinishReason | None = None, ours: Extension | None = None) -> bytes:
        return sse_event(self._envelope((ChunkChoice(0, delta, reason),), None, ours))

    def _envelope(
        self, choices: tuple[ChunkChoice, ...], usage: CompletionUsage | None, ours: Extension | None = None
    ) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=f"chatcmpl-{self.request_id}",
            object="chat.completion.chunk",
            created=self.created,
            model=self.model,
            choices=choices,
            usage=usage if self.with_usage else UNSET,
            openchatkit=UNSET if ours is None else ours,
        )
