"""Whom a follow-up's pronoun stands for, where that is not what the conversation is about now.

"Who wrote the novel?" is about the novel, and "where was she born?" about whom its answer named; "and he, when did he
die?" goes back to the last man that was spoken of. An article tells by its own pronouns whether "he" or "she" may be
its subject. The words that tell are known for English; in another language nobody is sought.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.passage_table import PassageTable
from server.retrieval.index.topic import Topic

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pointer(Enum):
    """What points back: to a man, to a woman, or to a thing just named ("that province")."""

    HE = "he"
    SHE = "she"
    THAT = "that"


_POINTERS = {
    "en": {
        Pointer.HE: re.compile(r"\b(?:he|him|his|himself)\b", re.IGNORECASE),
        Pointer.SHE: re.compile(r"\b(?:she|her|hers|herself)\b", re.IGNORECASE),
        Pointer.THAT: re.compile(r"\b(?:that|this) (?!was\b|is\b|did\b|were\b|the\b)[a-z]{3,}", re.IGNORECASE),
    }
}
_THINGS = re.compile(r"\b(?:it|its)\b", re.IGNORECASE)
# Somebody else of that kind is spoken of, though no article is about them.
_ALSO = {
    Pointer.HE: re.compile(r"\b(?:he|him|his|husband|father|brother|son|king|man)\b", re.IGNORECASE),
    Pointer.SHE: re.compile(r"\b(?:she|her|hers|wife|mother|sister|daughter|queen|woman)\b", re.IGNORECASE),
}
_NAME = re.compile(r"\b[A-Z][\w'-]{2,}(?: (?:(?:of|the|de|von|van) )?[A-Z][\w'-]+| \d+\b)*")
_ASKS_WHICH = re.compile(r"\b(?:who(?:m|se)?|which|what)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?]*(?:[.!?](?!\s)[^.!?]*)*")
_MOST_NAMES = 2
_MOST_BACK = 4  # turns
_READ_ROWS = 24  # of a document, from its beginning
# An article is about a man or a woman when it says so this often, and so much oftener than of another kind.
_LEAST_SAID, _SAID_OFTENER, _OTHERS_OFTENER = 5, 4, 2
_SAID_AT_ALL = 3
_TITLE_ROWS = 16


@dataclass(frozen=True)
class Told:
    """An earlier question, its reply, the rows that answer it, best first, and the topic once it was answered."""

    question: str
    reply: str
    rows: NDArray[np.int64] = field(repr=False)
    topic: Topic = field(repr=False)


def pointer_of(question: str, language: str) -> Pointer | None:
    """What in `question` points back; None where nothing does, or both a man and a woman are."""
    found = [each for each, pattern in _POINTERS.get(language, {}).items() if pattern.search(question)]
    people = [each for each in found if each is not Pointer.THAT]
    return people[0] if len(people) == 1 else None if people else next(iter(found), None)


def names_to_find(question: str, reply: str, asked_next: str, language: str) -> tuple[str, ...]:
    """The names in the first sentence of a reply that its question did not say, where the next question points back."""
    if not reply or pointer_of(asked_next, language) is None:
        return ()
    first = _SENTENCE.match(reply.strip())
    names = dict.fromkeys(_NAME.findall(first[0] if first else ""))
    return tuple(name for name in names if name.casefold() not in question.casefold())[:_MOST_NAMES]


class Antecedents:
    """Finds what a question points back to among the articles of one index. One thread uses it."""

    def __init__(self, table: PassageTable, language: str) -> None:
        self._table = table
        self.language = language
        self._kind = lru_cache(1024)(self._read_kind)

    def named(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `rows`, nearest first, that belong to the article called `name`."""
        title, near = name.casefold(), rows[rows >= 0].tolist()
        for row in near[:_TITLE_ROWS]:
            found = self._table.row(row).title.casefold()
            if found == title or (" " not in title and found.split()[-1:] == [title]):
                first = self._first_row(row)
                return np.array([each for each in near if self._first_row(each) == first], dtype=np.int64)
        return np.empty(0, np.int64)

    def other_than_the_last(
        self, question: str, told: Sequence[Told], named: Sequence[NDArray[np.int64]]
    ) -> Told | NDArray[np.int64] | None:
        """What `question` is about where it is not what was spoken of last: an earlier turn, or the rows of an article
        that the last reply named (one of `named`); None: what was spoken of last, as far as can be told.
        """
        pointer = pointer_of(question, self.language)
        if pointer is None or not told:
            return None
        last = told[-1]
        subject = self._first_row(int(last.rows[0]))
        others = [rows for rows in named if len(rows) and self._first_row(int(rows[0])) != subject]
        if pointer is Pointer.THAT:
            return others[0] if others else None
        suits = [rows for rows in others if self._kind(self._first_row(int(rows[0]))) is pointer]
        if suits and (self._kind(subject) is not pointer or not self._says_title(last)):
            return suits[0]
        if self._may_be(subject, pointer) or _ALSO[pointer].search(f"{last.question} {last.reply}"):
            return None
        back = (each for each in reversed(told[-1 - _MOST_BACK : -1]))
        return next((each for each in back if self._kind(self._first_row(int(each.rows[0]))) is pointer), None)

    def _says_title(self, told: Told) -> bool:
        """Whether a question names what it is about: then the next one is about that, too."""
        words = set(re.findall(r"\w{3,}", self._table.row(int(told.rows[0])).title.casefold()))
        return bool(words & set(re.findall(r"\w{3,}", told.question.casefold())))

    def _may_be(self, first_row: int, pointer: Pointer) -> bool:
        kind = self._kind(first_row)
        return kind is pointer or (kind is None and self._said(first_row)[pointer] >= _SAID_AT_ALL)

    def _read_kind(self, first_row: int) -> Pointer | None:
        """Whether the article that begins at `first_row` is about a man or a woman."""
        said = self._said(first_row)
        kind = max((Pointer.HE, Pointer.SHE), key=lambda each: said[each])
        other = Pointer.SHE if kind is Pointer.HE else Pointer.HE
        enough = said[kind] >= max(_LEAST_SAID, _SAID_OFTENER * said[Pointer.THAT], _OTHERS_OFTENER * said[other])
        return kind if enough else None

    def _said(self, first_row: int) -> dict[Pointer, int]:
        """How often the article says he, she and it."""
        document = self._table.document_id(first_row)
        rows = (row for row in range(first_row, first_row + _READ_ROWS) if self._table.document_id(row) == document)
        text = " ".join(self._table.texts(rows))
        patterns = _POINTERS.get(self.language, {}) | {Pointer.THAT: _THINGS}
        return {each: len(pattern.findall(text)) for each, pattern in patterns.items()}

    def _first_row(self, row: int) -> int:
        """Where the document of `row` begins: its rows follow one another."""
        document, before, step = self._table.document_id(row), row, 1
        while self._table.document_id(before - step) == document:
            before, step = before - step, 2 * step
        while step > 1:
            step //= 2
            before -= step if self._table.document_id(before - step) == document else 0
        return before
