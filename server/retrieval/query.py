"""What a retriever is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.retrieval.passage_filter import PassageFilter

_POINTS_BACK = re.compile(
    r"\b(?:he|him|his|she|hers?|it|its|they|them|theirs?|there|that|this|these|those|one|ones|same)\b|^(?:and|or|but)\b",
    re.IGNORECASE,
)
_FEW_WORDS = 3


@dataclass(frozen=True)
class Exchange:
    """An earlier question of the conversation, the titles of the passages that its answer was given, and the answer."""

    question: str
    titles: tuple[str, ...] = ()
    reply: str = ""


@dataclass(frozen=True)
class Query:
    """A question, and how many passages it wants.

    Attributes:
        k: how many passages.
        window: how many neighbours on each side may join a hit.
        threshold: the cosine similarity to the hit above which a neighbour joins.
        earlier: the conversation before the question, oldest first; a retriever may use it to tell what the question
            is about.
        standalone: the question as it would be asked without the conversation, where somebody has written it out.
        required: passages are wanted although the question may ask for none.
        only: which passages may be given; None: any.
    """

    text: str
    k: int = 1
    window: int = 0
    threshold: float = 1.0
    earlier: Sequence[Exchange] = ()
    standalone: str | None = None
    required: bool = False
    only: PassageFilter | None = None

    @property
    def with_topic(self) -> str:
        """The question for an engine that takes words alone: written out, or where nobody has, one that points back or
        has hardly a word comes with the title of what was found before it, or else with the question before it.
        """
        if self.standalone is not None:
            return self.standalone
        leans = len(self.text.split()) <= _FEW_WORDS or _POINTS_BACK.search(self.text)
        if not self.earlier or not leans:
            return self.text
        last = self.earlier[-1]
        return f"{last.titles[0] if last.titles else last.question} {self.text}"
