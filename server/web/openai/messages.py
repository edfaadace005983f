"""OpenAI's list of messages as a system text, turns and a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from server.chat.records.turn_records import Turn
from server.chat.text.visible import is_blank
from server.errors import ErrorCode, ServiceError
from server.web.limits.table import MAX_CONVERSATION_CHARS
from server.web.openai.message_schema import ChatMessage
from server.web.reading.struct_reader import invalid

_SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class Conversation:
    """What a list of messages says."""

    system: str
    history: tuple[Turn, ...]
    text: str
    begun: str = ""  # the first words of the reply that is asked for


def conversation(messages: Sequence[ChatMessage], field: str = "messages") -> Conversation:
    """System messages from wherever they stand, turns of user and assistant, last a question.

    Neighbouring messages of one role are joined by a line end. An assistant's message without a question before it
    answers an empty one; as the last one, it begins the reply. What a tool said is read as the user's. Where nobody
    asks anything, the last system message is the question. `field` is what the request calls them.

    Raises:
        ServiceError: INVALID_FIELD where there is no question.
    """
    _check_size(messages, field)
    system = [index for index, each in enumerate(messages) if each.role in _SYSTEM]
    said = [each for each in messages if each.role not in _SYSTEM]
    begun = _take_begun(said) if messages[-1].role == "assistant" else ""
    if system and system[-1] == len(messages) - 1 and (not said or _side(said[-1]) != "user"):
        said.append(ChatMessage("user", messages[system.pop()].text))
    _check_question(messages, said, field=field)
    *earlier, (_, text) = _joined(said)
    return Conversation(_text(messages[index] for index in system), _turns(earlier), text, begun=begun)


def _check_size(messages: Sequence[ChatMessage], field: str) -> None:
    num_chars = sum(len(each.text) for each in messages)
    if num_chars > MAX_CONVERSATION_CHARS:
        message = f"{field}: of {num_chars} characters, at most {MAX_CONVERSATION_CHARS} are read of one conversation"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field=field)


def _take_begun(said: list[ChatMessage]) -> str:
    """Take the assistant's messages off the end: the first words of the reply that is asked for."""
    num_begun = next((count for count, each in enumerate(reversed(said)) if _side(each) == "user"), len(said))
    begun = _text(said[len(said) - num_begun :])
    del said[len(said) - num_begun :]
    return "" if is_blank(begun) else begun


def _side(message: ChatMessage) -> str:
    return "assistant" if message.role == "assistant" else "user"


def _check_question(messages: Sequence[ChatMessage], said: Sequence[ChatMessage], field: str) -> None:
    last = len(messages) - 1
    if not said:
        raise invalid(f"{field}[{last}].role", messages[last].role, "one message must be the user's")
    if is_blank(said[-1].text):
        raise invalid(f"{field}[{last}].content", messages[last].text, "must hold visible text")


def _joined(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    return [(side, _text(group)) for side, group in groupby(messages, _side)]


def _text(messages: Iterable[ChatMessage]) -> str:
    return "\n".join(message.text for message in messages)


def _turns(exchanges: Sequence[tuple[str, str]]) -> tuple[Turn, ...]:
    """Pairs of a question and its answer, numbered from 1."""
    turns: list[Turn] = []
    question = ""
    for side, text in exchanges:
        if side == "user":
            question = text
        else:
            turns.append(Turn(len(turns) + 1, question, text, finish_reason="stop", created_at=0.0))
            question = ""
    return tuple(turns)
