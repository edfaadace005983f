"""How a conversation is written for a model: the strings around what people, passages and the operator say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from server.chat.text.neutralise import Markup

_DATE = re.compile(r"\{\{date:(.*?)\}\}")


class Place(Enum):
    """Where a question's passages stand: before the question's tag, behind it, or behind the question."""

    BEFORE = "before"
    INSIDE = "inside"
    AFTER = "after"


@dataclass(frozen=True)
class ChatFormat:
    """One way of writing conversations. A pair is what stands before and after a text; it is encoded as structure, so
    a tag that the tokenizer knows becomes its one token. Blanks at the end of what stands before a text
    go with it.

    In every string `{bos}` and `{eos}` stand for the tokenizer's own, and `{{date:%Y-%m-%d}}` for the UTC time at which
    the session began; it never changes, so its keys and values are reused.

    Attributes:
        preamble: opens a session.
        preamble_stays: whether it also stands where there is a system text, which follows it; else it is replaced.
        default_system: the system text where nobody gives one.
        system_in_question: whether the system text stands within the first question, behind its tag.
        background_place: where a question's passages stand.
        numbers_passages: whether several passages stand as "[1] ... [2] ...".
        ends: strings at which a reply is over; the engine stops there, and they are never part of a reply.
        end_tokens: special tokens at which a reply is over, where the tokenizer has them.
        noise: strings that a model may write and nobody said.
        markup: what texts must not imitate.
    """

    name: str
    system: tuple[str, str]
    background: tuple[str, str]
    question: tuple[str, str]
    reply: tuple[str, str]
    ends: tuple[str, ...]
    markup: Markup
    preamble: str = ""
    preamble_stays: bool = True
    default_system: str = ""
    system_in_question: bool = False
    background_place: Place = Place.BEFORE
    numbers_passages: bool = True
    end_tokens: tuple[str, ...] = ()
    noise: tuple[str, ...] = ("<pad>", "</s>", "<|endoftext|>")


def dated(text: str, session_created_at: float) -> str:
    """`text` with the time of the session's start, seconds since the epoch, where the format asks for it."""
    started = datetime.fromtimestamp(session_created_at, UTC)
    return _DATE.sub(lambda match: started.strftime(match[1]), text)


# Measured on a small model: a question behind its passages is answered more truly when it is named as one, and the
# passages run on without numbers.
QUOTED_BACKGROUND = ("Background: ", "\n\nQuestion: ")

TOKEN_NAMES = ("s", "pad", "unk", "mask", "bos", "eos", "cls", "sep")

OPENCHATKIT = ChatFormat(
    name="openchatkit",
    numbers_passages=False,  # its models were trained on passages without
    preamble="Current Date: {{date:%Y-%m-%d}}\nCurrent Time: {{date:%H:%M:%S %p %Z}}\n\n",
    system=("", "\n\n"),
    background=("Background: ", "\n"),
    question=("<human>: ", "\n"),
    reply=("<bot>: ", "\n"),
    ends=("\n<human>", "<human>"),
    markup=Markup(roles=("human", "bot"), tokens=TOKEN_NAMES, labels=("background",)),
)
