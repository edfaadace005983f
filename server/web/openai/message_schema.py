"""A message of a conversation as OpenAI's clients send it. Keys that are not named here are taken without effect."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.web.limits.table import MAX_MESSAGE_PARTS, MAX_NAME_CHARS


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A part of a message. Text is the only kind, and what an assistant refused with counts as such."""

    text: str


class InputTextPart(TextPart, frozen=True, tag_field="type", tag="input_text"):
    """What /v1/responses calls a user's text."""


class OutputTextPart(TextPart, frozen=True, tag_field="type", tag="output_text"):
    """What /v1/responses calls an assistant's text."""


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What an assistant refused with."""

    refusal: str

    @property
    def text(self) -> str:
        """The same as of any part."""
        return self.refusal


Part = TextPart | InputTextPart | OutputTextPart | RefusalPart


class FunctionCall(msgspec.Struct, frozen=True):
    """A function that an assistant called in a conversation with another model."""

    name: str = ""
    arguments: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that an assistant called in a conversation with another model."""

    function: FunctionCall = FunctionCall()


class ChatMessage(msgspec.Struct, frozen=True):
    """One message. `name` and other keys are taken without effect; what tools were asked and said is read as text."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[Part], Meta(max_length=MAX_MESSAGE_PARTS)] | None = None
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS, description="Accepted without effect.")] | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MAX_MESSAGE_PARTS)] | None = None
    function_call: FunctionCall | None = None
    audio: None = None

    @property
    def text(self) -> str:
        """The content as one string, behind it the tools that were called."""
        calls = [*(each.function for each in self.tool_calls or ()), *filter(None, [self.function_call])]
        return "\n".join(filter(None, [_joined(self.content), *(f"{each.name}({each.arguments})" for each in calls)]))


def _joined(content: str | list[Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)
