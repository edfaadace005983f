"""Exact nearest neighbours, computed in blocks so that memory does not grow with the corpus."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import msgspec
import numpy as np

from index_builder.progress import Progress
from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.relevance import NUM_CANDIDATES
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.index.vector_index import INDEX_FILE, VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray


BLOCK_ROWS = 4096  # with 500 queries some 30 MiB at a time
DEPTHS = (1, 5, 10, NUM_CANDIDATES)  # the last is what the server ranks
_SAME_SCORE = 1e-5
_NORMAL_95 = 1.96


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


class OperatingPoint(msgspec.Struct, frozen=True):
    """One setting of an index and what was measured there, one query at a time on one thread."""

    breadth: int
    num_candidates: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    recall_at_64: float
    recall_at_10_low: float  # the lower bound of what 95 of 100 such measurements contain
    recall_at_64_low: float
    p50_ms: float
    p95_ms: float
    queries_per_s: float


@dataclass(frozen=True)
class Queries:
    """Unit vectors, and where they come from, for the manifest."""

    vectors: NDArray[np.float32]  # [num_queries, dimension]
    origin: str


@dataclass(frozen=True)
class Truth:
    """The least score of each query's true neighbours at every depth: whatever scores as much is as near, whichever row
    it is, since rows of one text have one vector.
    """

    least: NDArray[np.float32]  # [num_queries, depth]: score of the k-th neighbour, best first

    @classmethod
    def of(cls, queries: NDArray[np.float32], vectors: StoredVectors, on_rows: Callable[[int], object]) -> Truth:
        """By exact search, as deep as the server searches."""
        scores, _ = exact_neighbours(queries, vectors, min(max(DEPTHS), len(vectors)), on_rows=on_rows)
        return cls(scores)

    def recalls(self, scores: NDArray[np.float32], k: int) -> NDArray[np.float64]:  # [num_queries]
        """Which share of the `k` nearest each query found, by the exact scores of the rows it found, best first."""
        k = min(k, self.least.shape[1])
        near = scores[:, :k] >= self.least[:, k - 1 : k] - _SAME_SCORE
        return near.mean(axis=1)


def sweep(folder: Path, facts: IndexFacts, queries: NDArray[np.float32], progress: Progress) -> list[OperatingPoint]:
    """Measure the index of `folder` over a range of breadths, against exact search, at the depth that is served."""
    vectors = StoredVectors(folder / VECTORS_FILE)
    points = []
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        settings = list(_settings(facts, len(vectors)))
        with progress.stage("exact", len(vectors), "vector") as bar:
            truth = Truth.of(queries, vectors, bar.update)
        with progress.stage("evaluate", len(settings), "point") as bar:
            for setting in settings:
                points.append(
                    _measure(VectorIndex(folder / INDEX_FILE, setting, vectors), setting, queries, truth=truth)
                )
                vectors.forget_pages()
                bar.update()
    finally:
        faiss.omp_set_num_threads(threads)
    return points


def best_point(points: list[OperatingPoint], floor: float) -> OperatingPoint:
    """The fastest point whose recall is above the floor for sure, at depth 10 and at the depth that is served; the most
    exact one where none is.
    """
    good = [point for point in points if min(point.recall_at_10_low, point.recall_at_64_low) >= floor]
    if good:
        return min(good, key=lambda point: point.p50_ms)
    return max(points, key=lambda point: (min(point.recall_at_10, point.recall_at_64), -point.p50_ms))


def operated_at(facts: IndexFacts, point: OperatingPoint, points: list[OperatingPoint], queries: Queries) -> IndexFacts:
    """`facts` with the operating point and everything that was measured."""
    return msgspec.structs.replace(
        facts,
        breadth=point.breadth,
        num_candidates=point.num_candidates,
        recall={f"recall@{depth}": getattr(point, f"recall_at_{depth}") for depth in DEPTHS},
        recall_interval={
            f"recall@{k}": _bounds(getattr(point, f"recall_at_{k}"), queries) for k in (10, NUM_CANDIDATES)
        },
        recall_queries=queries.origin,
        latency_ms={"p50": point.p50_ms, "p95": point.p95_ms, "queries_per_s": point.queries_per_s},
        sweep=[msgspec.to_builtins(each) for each in points],
    )


def _bounds(share: float, queries: Queries) -> list[float]:
    return [round(bound, 4) for bound in interval(share, len(queries.vectors))]


def _settings(facts: IndexFacts, num_vectors: int) -> Iterator[IndexFacts]:
    if facts.kind in ("flat", "other"):
        yield facts
        return
    for num_candidates in (64, 128, 256, 512):
        for breadth in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
            if breadth <= num_vectors // 10:
                yield msgspec.structs.replace(facts, breadth=breadth, num_candidates=num_candidates)


def _measure(index: VectorIndex, setting: IndexFacts, queries: NDArray[np.float32], truth: Truth) -> OperatingPoint:
    depth = truth.least.shape[1]
    found = np.full_like(truth.least, -np.inf)
    seconds = np.empty(len(queries))
    for number, query in enumerate(queries):
        started = time.perf_counter()
        scores, rows = index.search(query[None], depth)
        seconds[number] = time.perf_counter() - started
        held = rows[0] >= 0
        found[number, : held.sum()] = scores[0][held] if setting.kind == "flat" else index.exact(query, rows[0][held])
    found = -np.sort(-found, axis=1)
    recalls = {k: float(truth.recalls(found, k).mean()) for k in DEPTHS}
    return OperatingPoint(
        breadth=setting.breadth,
        num_candidates=setting.num_candidates,
        p50_ms=round(float(np.percentile(seconds, 50)) * 1e3, 3),
        p95_ms=round(float(np.percentile(seconds, 95)) * 1e3, 3),
        queries_per_s=round(1 / float(seconds.mean()), 1),
        **{f"recall_at_{k}": round(recall, 4) for k, recall in recalls.items()},
        **{f"recall_at_{k}_low": round(interval(recalls[k], len(queries))[0], 4) for k in (10, 64)},
    )


def interval(share: float, number: int) -> tuple[float, float]:
    """Between which bounds a share lies, with 95 percent confidence, when `number` queries measured it (Wilson)."""
    square = _NORMAL_95**2
    middle = (share + square / (2 * number)) / (1 + square / number)
    reach = _NORMAL_95 / (1 + square / number) * math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)
