"""What POST /v1/chat/completions takes: OpenAI's fields, those of them that are honoured, and a few of ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.errors import ErrorCode, ServiceError
from server.web.invocations.parameters import (
    MaxNewTokens,
    NoRetrieval,
    Parameters,
    RepetitionPenalty,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    check_window,
)
from server.web.reading.struct_reader import invalid, printable_value, read_struct

# Fields of OpenAI's schema that this server does not have, with the values that ask for nothing.
ASKS_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
NoEffect = Annotated[str, Meta(max_length=256, description="Accepted without effect.")]


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message; text is the only kind."""

    type: Literal["text"]
    text: str


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message. The fields that are always null let a reply be sent back as it came."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream carries beside text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation to continue. Nothing of it is stored; top_k, repetition_penalty and no_retrieval are ours.

    OpenAI's other fields are accepted with the values that ask for nothing (n=1, tools=[] and the like) and refused
    by name with any other.
    """

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    model: Annotated[str, Meta(description="The name that GET /v1/models gives, or empty.")] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxNewTokens | None = None
    max_completion_tokens: MaxNewTokens | None = None
    stop: Stop | None = None
    seed: Seed | None = None
    user: NoEffect | None = None
    safety_identifier: NoEffect | None = None
    prompt_cache_key: NoEffect | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16, description="Accepted without effect.")] | None = None
    top_k: TopK | None = None
    repetition_penalty: RepetitionPenalty | None = None
    no_retrieval: NoRetrieval | None = None

    @property
    def parameters(self) -> Parameters:
        """The same wishes in the words of /invocations."""
        return Parameters(
            no_retrieval=self.no_retrieval,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            max_new_tokens=self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens,
            repetition_penalty=self.repetition_penalty,
            stop=self.stop,
            seed=self.seed,
        )


def read_chat_request(data: dict[str, Any], max_context_tokens: int | None) -> ChatRequest:
    """A chat request, checked but for its model and the order of its messages. Raises ServiceError."""
    request = read_struct(_without_idle_fields(data), ChatRequest)
    _check_max_tokens(request, max_context_tokens)
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options", data["stream_options"], "only with stream=true")
    return request


def check_model(name: str | None, served: str) -> None:
    """Refuse a model that is not served; empty or absent means the one that is. Raises ServiceError."""
    if name not in (None, "", served):
        message = f"model={printable_value(name)} is not served here; legal are {served!r} and an empty string"
        raise ServiceError(ErrorCode.NOT_FOUND, message, field="model")


def _without_idle_fields(data: dict[str, Any]) -> dict[str, Any]:
    kept = dict(data)
    for name, idle in ASKS_FOR_NOTHING.items():
        value = kept.pop(name, None)
        if value is not None and not any(_same(value, each) for each in idle):
            legal = " or ".join([*(printable_value(each) for each in idle), "null"])
            message = f"{name}={printable_value(value)} is not supported; legal is {legal}"
            raise ServiceError(ErrorCode.UNSUPPORTED_FIELD, message, field=name)
    return kept


def _same(value: object, other: object) -> bool:
    """Equality that tells true from 1, but not 0 from 0.0."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _check_max_tokens(request: ChatRequest, max_context_tokens: int | None) -> None:
    both = (request.max_tokens, request.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        raise invalid("max_tokens", both[0], f"max_completion_tokens={both[1]} says otherwise; send one of them")
    field = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    check_window(request.parameters.max_new_tokens, max_context_tokens, field)
