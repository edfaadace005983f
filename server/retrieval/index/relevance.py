"""How candidates are ranked: by meaning first, then by words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.lexical_index import WordMatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_CANDIDATES = 64


@dataclass(frozen=True)
class WordWeights:
    """How far the words' agreement moves a cosine similarity towards 1; the three sum up to less than 1."""

    coverage: float
    best_sentence: float
    opening: float


# Measured on questions and conversations about an encyclopedia; see index_builder/README.md.
FIRST = WordWeights(coverage=0.4, best_sentence=0.25, opening=0.12)
FOLLOW_UP = WordWeights(coverage=0.25, best_sentence=0.15, opening=0.06)  # it has few words of its own


def relevance(
    cosine: NDArray[np.float32], words: WordMatch, weights: WordWeights = FIRST
) -> NDArray[np.float32]:  # [num_rows]
    """Cosine similarity, moved towards 1 by the share of the query's words that the passage and its best sentence
    hold, and a little when it opens its document, where things are defined. At least the cosine, at most 1.
    """
    moved = (
        weights.coverage * words.coverage + weights.best_sentence * words.best_sentence + weights.opening * words.opens
    )
    found: NDArray[np.float32] = cosine + (1 - cosine) * moved.astype(np.float32)
    return found
