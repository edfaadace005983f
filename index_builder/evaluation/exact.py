"""Exact nearest neighbours, computed in blocks so that memory does not grow with the corpus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.stored_vectors import StoredVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 4096  # with 500 queries some 30 MiB at a time


def exact_neighbours(
    queries: NDArray[np.float32],
    vectors: StoredVectors,
    k: int,
    on_rows: Callable[[int], object] = lambda _: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:  # [num_queries, k] each
    """The `k` largest inner products of every query and their rows, best first; `on_rows` hears of each block."""
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for start, block in vectors.blocks(BLOCK_ROWS):
        found = queries @ block.T
        best = np.argpartition(-found, min(k, found.shape[1]) - 1, axis=1)[:, :k]
        scores = np.concatenate([scores, np.take_along_axis(found, best, axis=1)], axis=1)
        rows = np.concatenate([rows, best + start], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        on_rows(len(block))
    return scores, rows
