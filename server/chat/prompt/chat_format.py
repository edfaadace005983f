"""How a conversation is written for a model: the strings around what people, passages and the operator say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class ChatFormat:
    """One way of writing conversations. A pair is what stands before and after a text; it is encoded as structure, so
    a tag that the tokenizer knows becomes its one token.

    Attributes:
        preamble: the lines that open a session which began at this time, in seconds since the epoch. They never
            change, so their keys and values are reused.
        lead: what stands between a tag and the text behind it, encoded with the text.
        ends: strings at which a reply is over; the engine stops there, and they are never part of a reply.
        noise: strings that a model may write and nobody said.
        roles, tokens: names in angle brackets that text must not imitate, as "human" for <human>.
        labels: words that, with a colon and at the beginning of a line, text must not imitate.
    """

    name: str
    preamble: Callable[[float], tuple[str, ...]]
    system: tuple[str, str]
    background: tuple[str, str]
    question: tuple[str, str]
    reply: tuple[str, str]
    lead: str
    ends: tuple[str, ...]
    noise: tuple[str, ...]
    roles: tuple[str, ...]
    tokens: tuple[str, ...]
    labels: tuple[str, ...]


def date_and_time(session_created_at: float) -> tuple[str, ...]:
    """Date and time of the session's start, UTC."""
    started = datetime.fromtimestamp(session_created_at, UTC)
    return f"Current Date: {started:%Y-%m-%d}", f"Current Time: {started:%H:%M:%S %p %Z}"


OPENCHATKIT = ChatFormat(
    name="openchatkit",
    preamble=date_and_time,
    system=("", "\n\n"),
    background=("Background:", "\n"),
    question=("<human>:", "\n"),
    reply=("<bot>:", "\n"),
    lead=" ",
    ends=("\n<human>", "<human>"),
    noise=("<pad>", "</s>", "<|endoftext|>"),
    roles=("human", "bot"),
    tokens=("s", "pad", "unk", "mask", "bos", "eos", "cls", "sep"),
    labels=("background",),
)
