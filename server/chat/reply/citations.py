"""Which source a sentence of a reply rests on: found after the reply is written, by what was copied or is alike.

Models that are asked to write such marks invent some; here a mark stands where the words of the sentence stand in the
source, or nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from server.chat.records.turn_records import Citation
from server.chat.text.sentences import sentence_ends, split_sentences

_RUN = 3  # words: what is copied has runs of them
_LEAST_COPIED = 0.5  # of a sentence's runs in the source
_LEAST_ALIKE = 0.75  # of a sentence's telling words in one sentence of the source
_LEAST_TELLING = 3
_TELLING_CHARS, _STEM_CHARS = 4, 6  # shorter words tell nothing; of longer ones the ends are inflections
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True)
class _Source:
    """The words of a source as they are compared."""

    runs: frozenset[tuple[str, ...]]
    sentences: tuple[frozenset[str], ...]
    words: frozenset[str]

    @classmethod
    def of(cls, text: str) -> _Source:
        words = _words(text)
        sentences = tuple(frozenset(map(_stem, _words(each))) for each in split_sentences(text))
        return cls(frozenset(_runs(words)), sentences, frozenset(words))

    def support(self, sentence: str) -> float:
        """How surely the sentence rests on this source: above 1 when it is copied, up to 1 when it is alike, else 0."""
        words = _words(sentence)
        runs = list(_runs(words))
        copied = sum(run in self.runs for run in runs) / max(1, len(runs))
        if copied >= _LEAST_COPIED:
            return 1 + copied
        telling = {_stem(word) for word in words if len(word) >= _TELLING_CHARS}
        if len(telling) < _LEAST_TELLING or not self.words.issuperset(_facts(sentence)):
            return 0.0
        alike = max((len(telling & each) / len(telling) for each in self.sentences), default=0.0)
        return alike if alike >= _LEAST_ALIKE else 0.0


class Citer:
    """Finds the citations of one reply.

    Args:
        sources: the texts that stood in the prompt, in their order.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = [_Source.of(text) for text in sources]

    def citations(self, reply: str) -> tuple[Citation, ...]:
        """One for each sentence that rests on a source; of several the one it rests on most, the earlier when equal."""
        return tuple(self._found(reply)) if self._sources else ()

    def _found(self, reply: str) -> Iterator[Citation]:
        for start, end in _sentences(reply):
            supports = [source.support(reply[start:end]) for source in self._sources]
            if best := max(supports):
                yield Citation(start, end, 1 + supports.index(best))


@dataclass
class MarkedText:
    """A reply in pieces, to be shown with its marks: a sentence waits for its end."""

    citer: Citer
    _held: str = field(default="", init=False)

    def take(self, piece: str) -> str:
        """What may be shown once `piece` has come."""
        self._held += piece
        end = max(sentence_ends(self._held, 0), default=0)
        ready, self._held = self._held[:end], self._held[end:]
        return self._marked(ready)

    def rest(self) -> str:
        """What was held, at the end of the reply."""
        ready, self._held = self._held, ""
        return self._marked(ready)

    def _marked(self, text: str) -> str:
        return with_marks(text, self.citer.citations(text))[0]


def with_marks(reply: str, citations: Sequence[Citation]) -> tuple[str, tuple[Citation, ...]]:
    """`reply` with ` [1]` behind each sentence that rests on a source, and where the sentences stand in it then."""
    pieces, moved, done, added = [], [], 0, 0
    for each in citations:
        mark = f" [{each.source}]"
        pieces += [reply[done : each.end], mark]
        moved.append(Citation(each.start + added, each.end + added, each.source))
        done, added = each.end, added + len(mark)
    return "".join(pieces) + reply[done:], tuple(moved)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence begins and ends, the white space around it left out."""
    start = 0
    for end in (*sentence_ends(text, 0), len(text)):
        piece = text[start:end]
        if piece.strip():
            yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        start = end


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(_RUN)), strict=False)


def _stem(word: str) -> str:
    return word[:_STEM_CHARS]


def _facts(sentence: str) -> set[str]:
    """The numbers and names of a sentence, which a source must have to the letter."""
    words = _WORD.findall(sentence)
    names = {word.lower() for word in words[1:] if word[:1].isupper()}
    return names | {word.lower() for word in words if any(map(str.isdigit, word))}
