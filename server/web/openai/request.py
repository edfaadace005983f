"""What POST /v1/chat/completions takes: OpenAI's fields, those of vLLM's that are honoured, and a few of ours."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.chat.services import Services
from server.errors import ErrorCode, ServiceError
from server.web.invocations.parameters import (
    Cite,
    Filter,
    IgnoreEos,
    LogitBias,
    MinP,
    MinTokens,
    NoRetrieval,
    Parameters,
    Penalty,
    RepetitionPenalty,
    Retrieval,
    SearchFields,
    SearchK,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    check_window,
)
from server.web.limits.table import MAX_CHOICES, MAX_MESSAGES, MAX_NAME_CHARS
from server.web.openai.idle_fields import without_idle_fields
from server.web.openai.message_schema import ChatMessage
from server.web.openai.response_format import ResponseFormat, json_schema
from server.web.reading.struct_reader import invalid, printable_value, read_struct

NO_LIMIT = -1  # llama.cpp's word for "as many tokens as there is room for"

MaxTokens = Annotated[
    int, Meta(ge=-1, le=1_000_000, extra_json_schema={"not": {"const": 0}}, description="-1: as many as there is room.")
]
ModelName = Annotated[str, Meta(max_length=MAX_NAME_CHARS, description="The name that GET /v1/models gives, or empty.")]
NumChoices = Annotated[int, Meta(ge=1, le=MAX_CHOICES, description="Replies to one prompt.")]


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream carries beside text: with `include_usage` the token counts at its end, and with
    `continuous_usage_stats` those so far in every chunk. Anything else changes nothing.
    """

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


class SamplingFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What chat completions and completions have in common."""

    model: ModelName | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: NumChoices | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    stop: Stop | None = None
    seed: Seed | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    min_tokens: MinTokens | None = None
    ignore_eos: IgnoreEos | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def with_usage_so_far(self) -> bool:
        """Whether every chunk says the usage so far; vLLM's word, which means nothing without the other."""
        return self.with_usage and self.stream_options is not None and bool(self.stream_options.continuous_usage_stats)

    def in_our_words(self, max_tokens: int | None, window: int | None) -> Parameters:
        """The same wishes as parameters of /invocations; -1 tokens are as many as the window has."""
        return Parameters(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            max_new_tokens=(window or None) if max_tokens == NO_LIMIT else max_tokens,
            repetition_penalty=self.repetition_penalty,
            stop=self.stop,
            seed=self.seed,
            min_p=self.min_p,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=self.logit_bias,
            min_tokens=self.min_tokens,
            ignore_eos=self.ignore_eos,
        )


class ChatRequest(SamplingFields, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A conversation to continue. Nothing of it is stored; top_k, min_p, repetition_penalty, min_tokens and ignore_eos
    are vLLM's, retrieval, no_retrieval, search_k, filter and cite ours. Where the last message is the assistant's, the
    reply goes on from it.

    OpenAI's other fields are accepted where they change nothing, or with the values that ask for nothing (tools=[] and
    the like), and refused by name with any other.
    """

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    continue_final_message: bool | None = None
    no_retrieval: NoRetrieval | None = None
    retrieval: Retrieval | None = None
    search_k: SearchK | None = None
    filter: Filter | None = None
    cite: Cite | None = None

    @property
    def search_fields(self) -> SearchFields:
        """What it says of its search."""
        return SearchFields(
            no_retrieval=self.no_retrieval, retrieval=self.retrieval, search_k=self.search_k, filter=self.filter
        )

    @property
    def wanted_tokens(self) -> int | None:
        """The length of the reply, by whichever name it came."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def num_alternatives(self) -> int | None:
        """Alternatives a token; None where no log-probabilities are asked for."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def json_schema(self) -> str | None:
        """What the reply must be, as `wire.Sampling` says it."""
        return json_schema(self.response_format)


CHAT_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(ChatRequest))


def read_chat_request(data: dict[str, Any], services: Services) -> ChatRequest:
    """A chat request, checked but for the order of its messages. Raises ServiceError."""
    request = read_struct(without_idle_fields(data, CHAT_FIELDS), ChatRequest)
    check_model(request.model, services.settings.model_name)
    _check_max_tokens(request, services)
    if request.top_logprobs and not request.logprobs:
        raise invalid("top_logprobs", request.top_logprobs, "only with logprobs=true")
    if request.continue_final_message and request.messages[-1].role != "assistant":
        raise invalid("continue_final_message", True, "only where the last message is the assistant's")
    return request


def check_model(name: str | None, served: str) -> None:
    """Refuse a model that is not served; empty or absent means the one that is. Raises ServiceError."""
    if name not in (None, "", served):
        message = f"model={printable_value(name)} is not served here; legal are {served!r} and an empty string"
        raise ServiceError(ErrorCode.NOT_FOUND, message, field="model")


def refuse_token_ids(field: str, given: object, hint: str = "") -> None:
    """Refuse tokens instead of text; `hint` says how a client is told. Raises ServiceError."""
    if isinstance(given, list) and any(isinstance(each, int | list) for each in given):
        raise invalid(field, given, f"token ids are another model's; send text{hint}")


def check_tokens(field: str, wanted: int | None) -> None:
    """Refuse a reply of no token: the schema cannot say "-1, or 1 and more". Raises ServiceError."""
    if wanted == 0:
        raise invalid(field, 0, "expected int >= 1")


def _check_max_tokens(request: ChatRequest, services: Services) -> None:
    both = (request.max_tokens, request.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        raise invalid("max_tokens", both[0], f"max_completion_tokens={both[1]} says otherwise; send one of them")
    check_tokens("max_tokens", request.max_tokens)
    check_tokens("max_completion_tokens", request.max_completion_tokens)
    field = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    check_window(request.wanted_tokens, services, field)
