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
class Weights:
    """How far what a passage has in common with a question moves a cosine similarity towards 1; they sum up to less
    than 1.

    Attributes:
        coverage: for the question's words in the passage.
        best_sentence: for those in one of its sentences.
        opening: for opening its document, where things are defined.
        definition: for that, when nothing but the document's subject is named.
        kind: for holding a thing of the kind that is asked for.
    """

    coverage: float
    best_sentence: float
    opening: float
    definition: float = 0.0
    kind: float = 0.0


# Measured on questions and conversations about an encyclopedia; see index_builder/README.md.
FIRST = Weights(coverage=0.4, best_sentence=0.25, opening=0.12, definition=0.1, kind=0.05)
FOLLOW_UP = Weights(coverage=0.25, best_sentence=0.15, opening=0.06)  # it has few words of its own


def relevance(
    cosine: NDArray[np.float32],
    words: WordMatch,
    weights: Weights = FIRST,
    kind: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:  # [num_rows]
    """Cosine similarity, moved towards 1 by what a passage has in common with the question. Opening its document counts
    only where the passage has what is asked for, or nothing is asked but what its subject is. At least the cosine, at
    most 1.

    Args:
        kind: how surely each row holds a thing of the kind that is asked for; None: no kind can be told.
    """
    moved = weights.coverage * words.coverage + weights.best_sentence * words.best_sentence
    opening = words.opens * (weights.opening + weights.definition * words.is_title)
    if kind is not None:
        moved = moved + weights.kind * kind
        opening = opening * ((kind > 0) | words.is_title)
    found: NDArray[np.float32] = cosine + (1 - cosine) * (moved + opening).astype(np.float32)
    return found
