"""What POST /v1/chat/completions and GET /v1/models give."""

from __future__ import annotations

from typing import Literal

import msgspec

from server.chat.records.turn_records import Source, TurnResult
from server.web.invocations.schema import TextJudgement, invocation_body

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
    prompt_tokens_details: PromptTokensDetails


class Extension(msgspec.Struct, frozen=True):
    """What OpenAI's schema has no place for, under one key of our own."""

    request_id: str
    finish_reason: str
    sources: tuple[Source, ...]
    moderation: dict[str, TextJudgement]
    warnings: tuple[str, ...]


class ReplyMessage(msgspec.Struct, frozen=True):
    """The reply, or the override message of a moderated one."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class Choice(msgspec.Struct, frozen=True):
    """The only choice."""

    index: int
    message: ReplyMessage
    finish_reason: FinishReason
    logprobs: None = None


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
    """The only choice, growing."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


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


def completion_usage(result: TurnResult) -> CompletionUsage:
    """OpenAI's token counts."""
    usage = result.usage
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(usage.cached_tokens),
    )


def extension(result: TurnResult, request_id: str) -> Extension:
    """The rest of the answer."""
    ours = invocation_body(result, request_id)
    return Extension(request_id, result.finish_reason, result.sources, ours.moderation, result.warnings)


def completion(result: TurnResult, request_id: str, model: str, created: int) -> ChatCompletion:
    """The whole answer as one object."""
    message = ReplyMessage("assistant", result.outputs)
    return ChatCompletion(
        id=f"chatcmpl-{request_id}",
        object="chat.completion",
        created=created,
        model=model,
        choices=(Choice(0, message, finish_reason(result)),),
        usage=completion_usage(result),
        openchatkit=extension(result, request_id),
    )
