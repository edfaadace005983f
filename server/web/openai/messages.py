"""OpenAI's list of messages as a system text, turns and a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from server.chat.records.turn_records import Turn
from server.chat.text.visible import is_blank
from server.web.openai.request import ChatMessage
from server.web.reading.struct_reader import invalid

_SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class Conversation:
    """What a list of messages says."""

    system: str
    history: tuple[Turn, ...]
    text: str


def conversation(messages: Sequence[ChatMessage]) -> Conversation:
    """System messages first, then user and assistant in any order, last a question of the user.

    Neighbouring messages of one role are joined by a line end. An assistant's message without a question before it
    answers an empty one.

    Raises:
        ServiceError: INVALID_FIELD for a system message after the first turn, or a last message that is no question.
    """
    num_system = next((index for index, each in enumerate(messages) if each.role not in _SYSTEM), len(messages))
    turns = messages[num_system:]
    for index, message in enumerate(turns, num_system):
        if message.role in _SYSTEM:
            raise invalid(f"messages[{index}].role", message.role, "system messages stand before all others")
    _check_question(messages, turns)
    *earlier, (_, text) = _joined(turns)
    return Conversation(_text(messages[:num_system]), _turns(earlier), text)


def _check_question(messages: Sequence[ChatMessage], turns: Sequence[ChatMessage]) -> None:
    last = len(messages) - 1
    if not turns or turns[-1].role != "user":
        raise invalid(f"messages[{last}].role", messages[last].role, "the last message must be the user's")
    if is_blank(turns[-1].text):
        raise invalid(f"messages[{last}].content", turns[-1].text, "must hold visible text")


def _joined(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    return [(role, _text(group)) for role, group in groupby(messages, lambda each: each.role)]


def _text(messages: Iterable[ChatMessage]) -> str:
    return "\n".join(message.text for message in messages)


def _turns(exchanges: Sequence[tuple[str, str]]) -> tuple[Turn, ...]:
    """Pairs of a question and its answer, numbered from 1."""
    turns: list[Turn] = []
    question = ""
    for role, text in exchanges:
        if role == "user":
            question = text
        else:
            turns.append(Turn(len(turns) + 1, question, text, "stop", 0.0))
            question = ""
    return tuple(turns)
