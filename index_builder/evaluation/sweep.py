"""An index measured at several operating points, and the best of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import msgspec
import numpy as np

from index_builder.evaluation.exact import exact_neighbours
from index_builder.progress import Progress
from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.index.vector_index import INDEX_FILE, VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_QUERIES = 500
DEPTHS = (1, 5, 10)
MARGIN = 0.01  # operate this much above the floor: other queries are not these
_SEED = 7


class OperatingPoint(msgspec.Struct, frozen=True):
    """One setting of an index and what was measured there, one query at a time on one thread."""

    breadth: int
    num_candidates: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    p50_ms: float
    p95_ms: float
    queries_per_s: float


def sweep(folder: Path, facts: IndexFacts, progress: Progress, num_queries: int = NUM_QUERIES) -> list[OperatingPoint]:
    """Measure the index of `folder` over a range of breadths, against exact search.

    Queries are stored vectors moved a little, so that no query is a row of the index.
    """
    vectors = StoredVectors(folder / VECTORS_FILE)
    queries = _queries(vectors, num_queries)
    points = []
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        settings = list(_settings(facts, len(vectors)))
        with progress.stage("exact", len(vectors), "vector") as bar:
            _, truth = exact_neighbours(queries, vectors, min(max(DEPTHS), len(vectors)), bar.update)
        with progress.stage("evaluate", len(settings), "point") as bar:
            for setting in settings:
                points.append(_measure(VectorIndex(folder / INDEX_FILE, setting, vectors), setting, queries, truth))
                vectors.forget_pages()
                bar.update()
    finally:
        faiss.omp_set_num_threads(threads)
    return points


def best_point(points: list[OperatingPoint], floor: float) -> OperatingPoint:
    """The fastest point whose recall@10 is above the floor by a margin; the most exact one where none is."""
    good = [point for point in points if point.recall_at_10 >= min(floor + MARGIN, 1.0)]
    return min(good, key=lambda point: point.p50_ms) if good else max(points, key=lambda point: point.recall_at_10)


def operated_at(facts: IndexFacts, point: OperatingPoint, points: list[OperatingPoint]) -> IndexFacts:
    """`facts` with the operating point and everything that was measured."""
    return msgspec.structs.replace(
        facts,
        breadth=point.breadth,
        num_candidates=point.num_candidates,
        recall={f"recall@{depth}": getattr(point, f"recall_at_{depth}") for depth in DEPTHS},
        latency_ms={"p50": point.p50_ms, "p95": point.p95_ms, "queries_per_s": point.queries_per_s},
        sweep=[msgspec.to_builtins(each) for each in points],
    )


def _queries(vectors: StoredVectors, num_queries: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(_SEED)
    rows = np.sort(generator.choice(len(vectors), min(num_queries, len(vectors)), replace=False))
    found = vectors.rows(rows)
    noise = generator.standard_normal(found.shape, dtype=np.float32)
    found += 0.3 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    moved: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return moved


def _settings(facts: IndexFacts, num_vectors: int) -> Iterator[IndexFacts]:
    if facts.kind == "flat":
        yield facts
        return
    for num_candidates in (20, 100, 200):
        for breadth in (4, 8, 16, 32, 64, 128, 256):
            if breadth <= num_vectors // 10:
                yield msgspec.structs.replace(facts, breadth=breadth, num_candidates=num_candidates)


def _measure(
    index: VectorIndex, setting: IndexFacts, queries: NDArray[np.float32], truth: NDArray[np.int64]
) -> OperatingPoint:
    depth = truth.shape[1]
    found = np.full_like(truth, -2)
    seconds = np.empty(len(queries))
    for number, query in enumerate(queries):
        started = time.perf_counter()
        _, rows = index.search(query[None], depth)
        seconds[number] = time.perf_counter() - started
        found[number, : rows.shape[1]] = rows[0]
    return OperatingPoint(
        breadth=setting.breadth,
        num_candidates=setting.num_candidates,
        p50_ms=round(float(np.percentile(seconds, 50)) * 1e3, 3),
        p95_ms=round(float(np.percentile(seconds, 95)) * 1e3, 3),
        queries_per_s=round(1 / float(seconds.mean()), 1),
        **{f"recall_at_{k}": _recall(found[:, :k], truth[:, :k]) for k in DEPTHS},
    )


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Which share of the true neighbours was found, over all queries."""
    hits = sum(len(set(mine) & set(true)) for mine, true in zip(found.tolist(), truth.tolist(), strict=True))
    return round(hits / truth.size, 4)
