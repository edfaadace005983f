"""How candidates are ranked: by meaning first, then by words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.lexical_index import WordMatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_CANDIDATES = 64
# Measured on questions about an encyclopedia; see index_builder/README.md. They sum up to less than 1.
_COVERAGE_WEIGHT = 0.4
_SENTENCE_WEIGHT = 0.25
_OPENING_WEIGHT = 0.12


def relevance(cosine: NDArray[np.float32], words: WordMatch) -> NDArray[np.float32]:  # [num_rows]
    """Cosine similarity, moved towards 1 by the share of the query's words that the passage and its best sentence
    hold, and a little when it opens its document, where things are defined. At least the cosine, at most 1.
    """
    moved = _COVERAGE_WEIGHT * words.coverage + _SENTENCE_WEIGHT * words.best_sentence + _OPENING_WEIGHT * words.opens
    found: NDArray[np.float32] = cosine + (1 - cosine) * moved.astype(np.float32)
    return found
