"""The passages' words, row by row, to rank candidates by: BM25 over what the vectors found.

A forward index, not an inverted one: it is written as a stream, costs some 200 bytes a passage, is memory-mapped, and
a query reads the rows of its candidates only, so neither building nor searching grows with the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.mapped_array import mapped_array
from server.retrieval.index.terms import TermReader
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TERMS_FILE = "terms.npy"  # uint32: the term numbers of all passages, one after another
TERM_STARTS_FILE = "term_starts.npy"  # int64: where each passage's terms start, and where the last one's end
TERM_COUNTS_FILE = "term_counts.npy"  # uint32[NUM_BUCKETS]: in how many passages a term of this bucket occurs
NUM_BUCKETS = 1 << 20
# Marks among a passage's terms; no word has their numbers. A row is: OPENING when the passage opens its document, the
# title's terms, then SENTENCE and the terms of each sentence.
OPENING = 0
SENTENCE = 1

_SATURATION = 1.2  # BM25's k1: how much the second occurrence of a word counts
_MOST_WORDS = 64  # of a query; each is looked for in every candidate
_LENGTH_WEIGHT = 0.4  # BM25's b: passages are of one length by their making, so a small one


@dataclass(frozen=True)
class WordMatch:
    """How the words of a query and of passages agree; every share is from 0 to 1, one a passage.

    Attributes:
        coverage: BM25 of the passage, as a share of what it would be if it held all words again and again.
        best_sentence: the weighed share of the words that one sentence, with the title, holds.
        opens: whether the passage opens its document.
        is_title: whether the title alone holds all words.
    """

    coverage: NDArray[np.float32]
    best_sentence: NDArray[np.float32]
    opens: NDArray[np.bool_]
    is_title: NDArray[np.bool_]


class LexicalIndex:
    """Compares a query's words, weighed by how rare they are, with those of passages. One thread uses it.

    Raises:
        RetrievalError: a file is missing or is not what it should be.
    """

    def __init__(self, folder: Path, num_passages: int, language: str) -> None:
        self._terms = mapped_array(folder / TERMS_FILE, np.uint32, 1)
        self._starts = mapped_array(folder / TERM_STARTS_FILE, np.int64, 1)
        self._counts = mapped_array(folder / TERM_COUNTS_FILE, np.uint32, 1)
        if len(self._starts) != num_passages + 1 or len(self._counts) != NUM_BUCKETS:
            raise RetrievalError(f"lexical index {folder} is of {len(self._starts) - 1} passages, not {num_passages}")
        self._num_passages = num_passages
        self._mean_length = max(1.0, len(self._terms) / max(1, num_passages))
        self._reader = TermReader(language)

    def match(self, query: str, rows: NDArray[np.int64]) -> WordMatch:
        """The agreement of `query` with the passages in `rows`."""
        wanted = self.terms(query)
        weights = self._weights(wanted)
        passages = _PassageWords.gather(self._terms, self._starts, rows)
        norm = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * passages.lengths / self._mean_length)
        coverage = np.zeros(len(rows), dtype=np.float32)
        sentences = np.zeros(len(passages.sentence_owners), dtype=np.float32)
        is_title = np.full(len(rows), bool(wanted))
        for term, weight in zip(wanted, weights, strict=True):
            found = passages.find(term)
            coverage += weight * found.occurrences / (found.occurrences + norm)
            sentences += weight * found.in_sentence
            is_title &= found.in_title
        best = np.zeros(len(rows), dtype=np.float32)
        np.maximum.at(best, passages.sentence_owners, sentences)
        total = max(float(weights.sum()), 1e-6)
        return WordMatch(coverage / total, best / total, passages.opens, is_title)

    def terms(self, query: str) -> list[int]:
        """The numbers of the different words of `query` that say something; of very many the rarest."""
        found = sorted(set(self._reader.terms(query)))
        if len(found) <= _MOST_WORDS:
            return found
        rarest = np.argsort(-self._weights(found), kind="stable")[:_MOST_WORDS]
        return sorted(found[place] for place in rarest)

    def _weights(self, terms: list[int]) -> NDArray[np.float32]:
        counts = self._counts[np.array(terms, dtype=np.int64) % NUM_BUCKETS].astype(np.float32)
        found: NDArray[np.float32] = np.log1p((self._num_passages - counts + 0.5).clip(0.5) / (counts + 0.5))
        return found


@dataclass(frozen=True)
class _TermPlaces:
    """How often each passage's sentences hold a term, which sentences, with their title, hold it, and which titles."""

    occurrences: NDArray[np.int64]  # [num_passages]
    in_sentence: NDArray[np.bool_]  # [num_sentences]
    in_title: NDArray[np.bool_]  # [num_passages]


@dataclass(frozen=True)
class _PassageWords:
    """The terms of some passages, flat: whose each is, and in which sentence it stands (-1: in the title)."""

    terms: NDArray[np.uint32]  # [num_terms]
    owners: NDArray[np.int64]  # [num_terms]: number of the passage
    sentences: NDArray[np.int64]  # [num_terms]: number of the sentence, counted over all passages
    sentence_owners: NDArray[np.int64]  # [num_sentences]: number of the passage
    lengths: NDArray[np.int64]  # [num_passages]: terms
    opens: NDArray[np.bool_]  # [num_passages]

    @classmethod
    def gather(cls, terms: NDArray[np.uint32], starts: NDArray[np.int64], rows: NDArray[np.int64]) -> _PassageWords:
        firsts, lengths = starts[rows], starts[rows + 1] - starts[rows]
        owners = np.repeat(np.arange(len(rows)), lengths)
        row_starts = np.cumsum(lengths) - lengths
        found = terms[np.repeat(firsts - row_starts, lengths) + np.arange(len(owners))]
        begins = found == SENTENCE
        sentence_owners = owners[begins]
        sentences = np.cumsum(begins) - 1
        # Before a passage's first sentence the count still stands at the last sentence of the passage before it.
        sentences[sentences < np.searchsorted(sentence_owners, owners)] = -1
        opens = np.zeros(len(rows), dtype=bool)
        opens[owners[found == OPENING]] = True
        return cls(found, owners, sentences, sentence_owners=sentence_owners, lengths=lengths, opens=opens)

    def find(self, term: int) -> _TermPlaces:
        """Where `term` is."""
        places = self.terms == term
        owners, sentences = self.owners[places], self.sentences[places]
        in_title = np.zeros(len(self.lengths), dtype=bool)
        in_title[owners[sentences < 0]] = True
        held = in_title[self.sentence_owners]
        held[sentences[sentences >= 0]] = True
        occurrences = np.bincount(owners[sentences >= 0], minlength=len(self.lengths))
        return _TermPlaces(occurrences, held, in_title)
