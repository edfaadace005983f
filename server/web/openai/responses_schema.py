"""What POST /v1/responses takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.web.invocations.parameters import MaxNewTokens, NoRetrieval, Temperature, TopP
from server.web.limits.table import (
    MAX_MESSAGE_PARTS,
    MAX_MESSAGES,
    MAX_NAME_CHARS,
    MAX_QUESTION_CHARS,
    MAX_SYSTEM_CHARS,
)
from server.web.openai.message_schema import ChatMessage, FunctionCall, Part
from server.web.openai.request import ModelName
from server.web.openai.response import Extension


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObject(msgspec.Struct, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that a schema allows; `name`, `description` and `strict` change nothing."""

    schema: dict[str, Any]
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = ""


class TextOptions(msgspec.Struct, frozen=True):
    """What the text must be. `verbosity` changes nothing."""

    format: PlainText | JsonObject | JsonSchema | None = None


ItemText = str | Annotated[list[Part], Meta(max_length=MAX_MESSAGE_PARTS)]


class InputItem(msgspec.Struct, frozen=True):
    """One item of a conversation: a message, or what a function was asked and said, which is read as text. What another
    model thought is taken without effect, and so are other keys."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] | None = None
    role: Literal["system", "developer", "user", "assistant", "tool", "function"] | None = None
    content: ItemText | None = None
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    arguments: str | None = None
    output: ItemText | None = None

    @property
    def message(self) -> ChatMessage | None:
        """The same as a message; None for a thought, and for an item that lacks what its type needs."""
        if self.type == "function_call":
            return ChatMessage("assistant", function_call=FunctionCall(self.name or "", self.arguments or ""))
        if self.type == "function_call_output":
            return ChatMessage("tool", self.output)
        if self.type == "reasoning" or self.role is None:
            return None
        return ChatMessage(self.role, self.content)


class ResponsesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, or the messages of a conversation. Stored and continued by `previous_response_id` where it is one
    question; a list of several messages is answered as it is and not stored."""

    input: (
        Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS)]
        | Annotated[list[InputItem], Meta(min_length=1, max_length=MAX_MESSAGES)]
    )
    model: ModelName | None = None
    instructions: Annotated[str, Meta(max_length=MAX_SYSTEM_CHARS)] | None = None
    previous_response_id: (
        Annotated[str, Meta(max_length=MAX_NAME_CHARS, description="Go on behind this answer, the newest one.")] | None
    ) = None
    store: Annotated[bool, Meta(description="false: nothing is remembered.")] | None = None
    stream: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: MaxNewTokens | None = None
    text: TextOptions | None = None
    no_retrieval: NoRetrieval | None = None


class OutputText(msgspec.Struct, frozen=True):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: tuple[Any, ...] = ()
    logprobs: tuple[Any, ...] = ()


class OutputMessage(msgspec.Struct, frozen=True):
    """The only item of an answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: tuple[OutputText, ...]


class CachedTokens(msgspec.Struct, frozen=True):
    """Prompt tokens whose keys and values were reused."""

    cached_tokens: int = 0


class ReasoningTokens(msgspec.Struct, frozen=True):
    """None: the models do not reason apart."""

    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct, frozen=True):
    """Token counts."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens = CachedTokens()
    output_tokens_details: ReasoningTokens = ReasoningTokens()


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why an answer is not whole."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseError(msgspec.Struct, frozen=True):
    """Why an answer failed in the middle."""

    code: str
    message: str


class ResponseBody(msgspec.Struct, frozen=True):
    """An answer, or in a stream what there is of it."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    model: str
    output: tuple[OutputMessage, ...] = ()
    previous_response_id: str | None = None
    instructions: str | None = None
    usage: ResponseUsage | None = None
    incomplete_details: IncompleteDetails | None = None
    error: ResponseError | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    store: bool = True
    tool_choice: Literal["none"] = "none"
    tools: tuple[Any, ...] = ()
    parallel_tool_calls: bool = False
    metadata: dict[str, str] = {}
    openchatkit: Extension | msgspec.UnsetType = msgspec.UNSET


class ResponseDeleted(msgspec.Struct, frozen=True):
    """The answer is erased, with its question."""

    id: str
    object: Literal["response"]
    deleted: bool


class InputText(msgspec.Struct, frozen=True):
    """The text of a question."""

    type: Literal["input_text"]
    text: str


class InputMessage(msgspec.Struct, frozen=True):
    """A question that was answered."""

    id: str
    type: Literal["message"]
    role: Literal["user"]
    content: tuple[InputText, ...]
    status: Literal["completed"] = "completed"


class InputItemList(msgspec.Struct, frozen=True):
    """What an answer was asked: one message."""

    object: Literal["list"]
    data: tuple[InputMessage, ...]
    first_id: str
    last_id: str
    has_more: bool = False


class ResponseEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a stream; which fields it has depends on its type, as OpenAI says."""

    type: str
    sequence_number: int = -1
    response: ResponseBody | None = None
    item_id: str | None = None
    output_index: int = -1
    content_index: int = -1
    item: OutputMessage | None = None
    part: OutputText | None = None
    delta: str | None = None
    text: str | None = None
    logprobs: tuple[Any, ...] | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
