"""The Faiss index of an index folder: memory-mapped, read-only, searched for many queries at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np

from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.stored_vectors import StoredVectors
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX_FILE = "knn.index"
LISTS_FILE = "knn.ivfdata"  # the lists of an inverted file, beside it
_MATRIX_QUERIES = 3  # from so many queries on, one matrix product is faster than a scan a query


class VectorIndex:
    """Nearest passages by inner product of unit vectors.

    A compressed index is asked for `num_candidates` rows, which are ranked again by their stored vectors: that gives
    back what compression loses, and scores are true cosine similarities.

    Raises:
        RetrievalError: the file is missing or no Faiss index, or its size is not that of `vectors`.
    """

    def __init__(self, path: Path, facts: IndexFacts, vectors: StoredVectors) -> None:
        try:
            self._index = faiss.read_index(str(path), _mapping_flags(path))
        except RuntimeError as error:
            raise RetrievalError(f"index file {path} cannot be opened: {_first_line(error)}") from error
        if self._index.ntotal != len(vectors) or self._index.d != vectors.dimension:
            raise RetrievalError(
                f"index file {path} holds {self._index.ntotal} vectors of {self._index.d} numbers, "
                f"its vectors file {len(vectors)} of {vectors.dimension}"
            )
        # Faiss counts numbers of queries, and by default multiplies matrices from 128000 on only: nine times too late.
        faiss.cvar.distance_compute_blas_threshold = _MATRIX_QUERIES * vectors.dimension
        self._vectors = vectors
        self._facts = facts
        self._parameters = _search_parameters(self._index, facts.breadth)

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:  # [num_queries, k] each
        """Scores and rows of the `k` nearest passages of each query, best first; -1 where there are fewer."""
        num_candidates = min(max(k, self._facts.num_candidates), self._index.ntotal)
        scores, rows = self._index.search(queries, num_candidates, params=self._parameters)
        if self._facts.num_candidates:
            scores, rows = self._rank_again(queries, rows)
        return scores[:, :k], rows[:, :k]

    def exact(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows]
        """The inner products of one query with the stored vectors of these rows."""
        found: NDArray[np.float32] = self._vectors.rows(rows) @ query
        return found

    def _rank_again(
        self, queries: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        for number, query in enumerate(queries):
            found = rows[number] >= 0
            scores[number, found] = self._vectors.rows(rows[number, found]) @ query
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _mapping_flags(path: Path) -> int:
    """How to open the index without reading it: its own arrays mapped, or the file of its lists beside it."""
    if path.with_name(LISTS_FILE).exists():
        return int(faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR)
    return int(faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)


def _search_parameters(index: faiss.Index, breadth: int) -> faiss.SearchParameters | None:
    if not breadth:
        return None
    if isinstance(index, faiss.IndexPreTransform):
        inner = _search_parameters(faiss.downcast_index(index.index), breadth)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=breadth)
    return faiss.SearchParametersIVF(nprobe=breadth)


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0][:300]
