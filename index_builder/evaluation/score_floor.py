"""The cosine similarity under which a passage is not relevant, measured for this encoder and this corpus."""

from __future__ import annotations

import numpy as np

from index_builder.evaluation.exact import exact_neighbours
from index_builder.progress import Progress
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.small_talk import SMALL_TALK
from server.retrieval.index.stored_vectors import StoredVectors

SHARE_UNDER_FLOOR = 97.0


def small_talk_floor(encoder: Encoder, vectors: StoredVectors, progress: Progress) -> float:
    """The cosine similarity to its nearest passage that nearly all small talk stays under."""
    with progress.stage("floor", len(vectors), "vector") as bar:
        scores, _ = exact_neighbours(encoder.encode(SMALL_TALK, role="query"), vectors, 1, on_rows=bar.update)
    return round(float(np.percentile(scores[:, 0], SHARE_UNDER_FLOOR)), 3)
