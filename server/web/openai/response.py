"""What POST /v1/chat/completions and GET /v1/models give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.chat.records.turn_records import Citation, Source, TurnResult
from server.web.invocations.schema import TextJudgement, invocation_body
from server.web.openai.logprobs import ChatLogprobs, chat_logprobs

FinishReason = Literal["stop", "length", "content_filter"]
_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "deadline": "length",
    "shutdown": "length",
    "moderated_input": "content_filter",
    "moderated_output": "content_filter",
}


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Prompt tokens whose keys and values were reused."""

    cached_tokens: int


class CompletionUsage(msgspec.Struct, frozen=True):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None  # null while a stream goes on


class Extension(msgspec.Struct, frozen=True):
    """What OpenAI's schema has no place for, under one key of our own."""

    request_id: str
    sources: tuple[Source, ...]
    # Absent where the sources alone go first in a stream.
    finish_reason: str | UnsetType = UNSET
    moderation: dict[str, TextJudgement] | UnsetType = UNSET
    warnings: tuple[str, ...] | UnsetType = UNSET
    citations: tuple[Citation, ...] | UnsetType = UNSET  # sentences of the reply that rest on a source
    timings: dict[str, float] | UnsetType = UNSET  # seconds by phase


class ReplyMessage(msgspec.Struct, frozen=True):
    """The reply, or the override message of a moderated one."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class Choice(msgspec.Struct, frozen=True):
    """One reply of as many as were asked for."""

    index: int
    message: ReplyMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None = None
    openchatkit: Extension | msgspec.UnsetType = msgspec.UNSET  # of each choice, where there are several


class ChatCompletion(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: CompletionUsage
    openchatkit: Extension
    system_fingerprint: None = None


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    """A choice, growing. Its log-probabilities stand in its last chunk, all of them."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: ChatLogprobs | None = None


class ChatCompletionChunk(msgspec.Struct, frozen=True):
    """One event of a stream. `usage` is null but in the last chunk, and absent unless include_usage asks for it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | msgspec.UnsetType | None = msgspec.UNSET
    openchatkit: Extension | msgspec.UnsetType = msgspec.UNSET
    system_fingerprint: None = None


class Model(msgspec.Struct, frozen=True):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None


class ModelList(msgspec.Struct, frozen=True):
    """The models that are served: one."""

    object: Literal["list"]
    data: tuple[Model, ...]


def finish_reason(result: TurnResult) -> FinishReason:
    """OpenAI's word for how the reply ended."""
    return _FINISH_REASONS[result.finish_reason]


def summed_usage(results: Sequence[TurnResult]) -> CompletionUsage:
    """OpenAI's token counts: of the prompt, once, and of all replies to it."""
    prompt = max(each.usage.prompt_tokens for each in results)
    completion = sum(each.usage.completion_tokens for each in results)
    cached = max(each.usage.cached_tokens for each in results)
    return CompletionUsage(prompt, completion, prompt + completion, prompt_tokens_details=PromptTokensDetails(cached))


@dataclass
class UsageSoFar:
    """The tokens of a stream that goes on, of all its choices."""

    prompt: int = 0
    written: dict[int, int] = field(default_factory=dict)  # by choice

    def note(self, choice: int, prompt_tokens: int, completion_tokens: int) -> None:
        """What `choice` has read and written by now; text that is nobody's tokens has zeros."""
        self.prompt = max(self.prompt, prompt_tokens)
        self.written[choice] = max(self.written.get(choice, 0), completion_tokens)

    @property
    def usage(self) -> CompletionUsage | None:
        """The counts, as soon as there are any."""
        completion = sum(self.written.values())
        return CompletionUsage(self.prompt, completion, self.prompt + completion) if self.prompt else None


def extension(result: TurnResult, request_id: str) -> Extension:
    """The rest of the answer."""
    ours = invocation_body(result, request_id)
    return Extension(
        request_id,
        result.sources,
        result.finish_reason,
        moderation=ours.moderation,
        warnings=result.warnings,
        citations=result.citations,
        timings=result.timings,
    )


def completion(results: Sequence[TurnResult], request_id: str, model: str, created: int) -> ChatCompletion:
    """The whole answer as one object."""
    return ChatCompletion(
        id=f"chatcmpl-{request_id}",
        object="chat.completion",
        created=created,
        model=model,
        choices=tuple(_choice(index, each, request_id, num_choices=len(results)) for index, each in enumerate(results)),
        usage=summed_usage(results),
        openchatkit=extension(results[0], request_id),
    )


def _choice(index: int, result: TurnResult, request_id: str, num_choices: int) -> Choice:
    message = ReplyMessage("assistant", result.outputs)
    ours = extension(result, request_id) if num_choices > 1 else msgspec.UNSET
    return Choice(index, message, finish_reason(result), logprobs=chat_logprobs(result), openchatkit=ours)
