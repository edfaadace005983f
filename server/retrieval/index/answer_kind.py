"""What kind of thing a question asks for, and which passages hold one: a day, a number, a name, a place, a reason.

A passage may be about all that a question names and lack what is asked: the beginning of an article has its subject's
name and no "when". The words that tell are known for English; of another language every passage is taken alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SENTENCE_END = re.compile(r"(?<=[.!?]) +")
_ANY_WORD = re.compile(r"\w+")
_WORD = re.compile(r"[^\W\d_]{4,}")
_STEM_CHARS = 5  # of a word, by which a question's words are found again in a sentence
_ELSEWHERE = 0.5  # what it counts when another sentence of the passage has the kind
_NAME = re.compile(r"\b[A-Z][a-z]+ [A-Z][a-zA-Z'-]+")

_DATE = re.compile(
    r"\b(?:1\d\d\d|20\d\d|\d+ ?(?:BCE?|AD|CE)|January|February|March|April|May|June|July|August|September|October"
    r"|November|December)\b"
)
_NUMBER = re.compile(
    r"\b(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|twelve|hundred|thousand|million|percent)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\b(?:[Ii]n|[Aa]t|[Nn]ear|[Ff]rom|to|of|on) (?:the )?[A-Z][a-z]+")
_REASON = re.compile(r"\b(?:because|due to|since)\b")


@dataclass(frozen=True)
class _Kind:
    asked: re.Pattern[str]
    answer: re.Pattern[str]
    is_new: bool = False  # the question must not have said its last word itself


# The first of these words says what is asked for: "what did he say when he landed" asks for no day.
_ASKS = {"en": re.compile(r"\b(?:when|where|why|who(?:m|se|s)?|(?:how|what|which)(?: \w+)?)\b")}
_KINDS = {
    "en": (
        _Kind(re.compile(r"when|(?:what|which) (?:year|date|day|century)|how old"), _DATE),
        _Kind(re.compile(r"how (?:many|much|long|tall|big|far|high|large|fast|deep|heavy|often|strong|wide)"), _NUMBER),
        _Kind(re.compile(r"who(?:m|se|s)?"), _NAME, is_new=True),
        _Kind(re.compile(r"where|(?:what|which) (?:country|city|town|place|state|island)"), _PLACE, is_new=True),
        _Kind(re.compile(r"why"), _REASON),
    )
}


@dataclass(frozen=True)
class AskedKind:
    """What a question asks for, and its words."""

    kind: _Kind
    said: frozenset[str]
    stems: frozenset[str]

    @classmethod
    def of(cls, question: str, language: str) -> AskedKind | None:
        """None where it cannot be told."""
        asks = _ASKS[language].search(question.lower()) if language in _ASKS else None
        kind = next((kind for kind in _KINDS[language] if kind.asked.fullmatch(asks[0])), None) if asks else None
        return None if kind is None else cls(kind, frozenset(_ANY_WORD.findall(question)), _stems(question))

    def held_by(self, texts: Sequence[str]) -> NDArray[np.float32]:  # [num_texts]
        """How surely each passage holds a thing of the kind: 1 when the sentence that has most of the question's words
        holds one, less when another does, 0 when none does.
        """
        return np.array([self._held(text) for text in texts], dtype=np.float32)

    def _held(self, text: str) -> float:
        if self.kind.answer.search(text) is None:
            return 0.0
        sentences = _SENTENCE_END.split(text)
        holding = [_has(self.kind, self.said, sentence) for sentence in sentences]
        if not any(holding):
            return 0.0
        shared = [len(self.stems & _stems(sentence)) for sentence in sentences]
        most = max(shared)
        in_best = any(holds and number == most for holds, number in zip(holding, shared, strict=True))
        return 1.0 if in_best else _ELSEWHERE


def _has(kind: _Kind, said: frozenset[str], sentence: str) -> bool:
    if not kind.is_new:
        return kind.answer.search(sentence) is not None
    return any(found.split()[-1] not in said for found in kind.answer.findall(sentence))


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM_CHARS] for word in _WORD.findall(text.lower()))
