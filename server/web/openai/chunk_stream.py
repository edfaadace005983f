"""The stream of a chat completion: OpenAI's chunks as server-sent events."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import UNSET

from server.chat.records.turn_records import Source, TextPiece, TurnResult
from server.web.call.errors import ErrorBody
from server.web.invocations.stream_format import SSE, SSE_KEEP_ALIVE, sse_event
from server.web.openai.logprobs import chat_logprobs
from server.web.openai.response import (
    ChatCompletionChunk,
    ChunkChoice,
    CompletionUsage,
    Delta,
    Extension,
    UsageSoFar,
    extension,
    finish_reason,
    summed_usage,
)

SSE_TYPE = f"{SSE}; charset=utf-8"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Envelope:
    """What every message of one answer repeats."""

    id: str
    model: str
    created: int
    num_choices: int = 1
    with_usage: bool = False
    with_usage_so_far: bool = False  # in every chunk


@dataclass(frozen=True)
class ChatChunkFormat:
    """The messages of one streamed completion: roles, pieces, finish reasons, usage when asked for, the end mark."""

    request_id: str
    envelope: Envelope
    content_type = SSE_TYPE
    keep_alive = SSE_KEEP_ALIVE
    _results: list[TurnResult] = field(default_factory=list)
    _so_far: UsageSoFar = field(default_factory=UsageSoFar)

    def opening(self) -> bytes:
        """The role of each choice."""
        delta = Delta(role="assistant", content="")
        return b"".join(self._chunk(ChunkChoice(index, delta)) for index in range(self.envelope.num_choices))

    def text(self, piece: TextPiece, choice: int) -> bytes:
        """A piece of a reply."""
        self._so_far.note(choice, piece.prompt_tokens, piece.completion_tokens)
        return self._chunk(ChunkChoice(choice, Delta(content=piece.text)))

    def sources(self, sources: tuple[Source, ...]) -> bytes:
        """The sources under our own key, and nothing of OpenAI's."""
        return sse_event(self._message((), None, Extension(self.request_id, sources)))

    def result(self, result: TurnResult, choice: int) -> bytes:
        """The finish reason, and the log-probabilities where they were asked for."""
        self._results.append(result)
        self._so_far.note(choice, result.usage.prompt_tokens, result.usage.completion_tokens)
        last = ChunkChoice(choice, Delta(), finish_reason(result), logprobs=chat_logprobs(result))
        return self._chunk(last, extension(result, self.request_id))

    def error(self, body: ErrorBody) -> bytes:
        """The error, which OpenAI's clients raise."""
        return sse_event(body)

    def closing(self) -> bytes:
        """The usage where it was asked for, and the end mark."""
        if not (self.envelope.with_usage and self._results):
            return DONE
        return sse_event(self._message((), summed_usage(self._results))) + DONE

    def _chunk(self, choice: ChunkChoice, ours: Extension | None = None) -> bytes:
        usage = self._so_far.usage if self.envelope.with_usage_so_far else None
        return sse_event(self._message((choice,), usage, ours))

    def _message(
        self, choices: tuple[ChunkChoice, ...], usage: CompletionUsage | None, ours: Extension | None = None
    ) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self.envelope.id,
            object="chat.completion.chunk",
            created=self.envelope.created,
            model=self.envelope.model,
            choices=choices,
            usage=usage if self.envelope.with_usage else UNSET,
            openchatkit=UNSET if ours is None else ours,
        )
