"""In which passages each word occurs: finds the part numbers, rare names and error codes that vectors miss.

Three arrays, memory-mapped: a query reads the lists of its own words only, and of those the rare ones, so searching
does not grow with the corpus. Ranking what is found is the work of the vectors and of `lexical_index`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.mapped_array import mapped_array
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS_FILE = "words.npy"  # uint32: every term number once, ascending
WORD_STARTS_FILE = "word_starts.npy"  # int64: where each term's rows start, and where the last one's end
WORD_ROWS_FILE = "word_rows.npy"  # uint32: the rows of each term, ascending
_MAX_ROWS = 1 << 16  # read for a query; the lists of its commoner words are left out
# A word is rare in no more passages than the first share of them, or than this number while it is under the second.
_RARE_SHARE, _RARE_ROWS, _RARE_SHARE_OF_FEW = 0.002, 20, 0.02


@dataclass(frozen=True)
class WordHits:
    """Rows that hold words of a query, and whether each holds a rare one."""

    rows: NDArray[np.int64]  # [num_rows], ascending
    has_rare: NDArray[np.bool_]  # [num_rows]


NO_WORDS = WordHits(np.empty(0, np.int64), np.empty(0, np.bool_))


class InvertedWords:
    """The lists of an index folder.

    Raises:
        RetrievalError: a file is missing or is not what it should be.
    """

    def __init__(self, folder: Path, num_passages: int) -> None:
        self._words = mapped_array(folder / WORDS_FILE, np.uint32, 1)
        self._starts = mapped_array(folder / WORD_STARTS_FILE, np.int64, 1)
        self._rows = mapped_array(folder / WORD_ROWS_FILE, np.uint32, 1)
        if len(self._starts) != len(self._words) + 1 or self._starts[-1] != len(self._rows):
            raise RetrievalError(f"inverted words {folder} have {len(self._words)} words, {len(self._starts)} starts")
        self._num_passages = num_passages
        few = min(_RARE_ROWS, int(_RARE_SHARE_OF_FEW * num_passages))
        self._rare_rows = max(1, few, int(_RARE_SHARE * num_passages))

    @classmethod
    def of(cls, folder: Path, num_passages: int) -> InvertedWords | None:
        """The lists, None in an index that was built before there were any."""
        return cls(folder, num_passages) if (folder / WORDS_FILE).exists() else None

    def find(self, terms: list[int], num_rows: int) -> WordHits:
        """The rows with the most and rarest of `terms`: `num_rows`, or up to four times as many that are as good."""
        lists = self._lists(terms)
        rows = np.concatenate([np.empty(0, np.int64), *lists])
        weights = [np.full(len(each), np.log1p(self._num_passages / len(each)), np.float32) for each in lists]
        rare = [np.full(len(each), len(each) <= self._rare_rows) for each in lists]
        found, places = np.unique(rows, return_inverse=True)
        scores = np.bincount(places, np.concatenate([np.empty(0, np.float32), *weights]), len(found)).astype(np.float64)
        has_rare = np.bincount(places, np.concatenate([np.empty(0, bool), *rare]), len(found)) > 0
        kept = np.sort(np.argsort(-scores, kind="stable")[: _as_good(scores, num_rows)])
        return WordHits(found[kept], has_rare[kept])

    def _lists(self, terms: list[int]) -> list[NDArray[np.int64]]:
        """The rows of each term that occurs, rarest first, as long as there are few enough."""
        wanted = np.unique(np.array(terms, dtype=np.uint32))
        places = np.searchsorted(self._words, wanted)
        places = places[places < len(self._words)]
        places = places[np.isin(self._words[places], wanted)]
        sizes = self._starts[places + 1] - self._starts[places]
        order = np.argsort(sizes, kind="stable")
        order = order[np.cumsum(sizes[order]) <= _MAX_ROWS]
        return [self._rows[self._starts[place] : self._starts[place + 1]].astype(np.int64) for place in places[order]]


def _as_good(scores: NDArray[np.float64], num_rows: int) -> int:
    """How many rows score as high as the one at `num_rows`."""
    if len(scores) <= num_rows:
        return len(scores)
    least = np.partition(scores, len(scores) - num_rows)[len(scores) - num_rows]
    return min(4 * num_rows, int((scores >= least).sum()))
