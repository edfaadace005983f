"""Evaluates an index folder: questions, recall against exact search over a sweep, the operating point, recall's
picture, and the floor of scores.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import msgspec
import numpy as np

from index_builder.manifest import file_facts, store_manifest
from index_builder.passages.window import split_sentences
from index_builder.progress import Progress
from index_builder.work_folder import write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import IndexFacts, Manifest, read_manifest
from server.retrieval.index.passage_table import PASSAGES_FILE, PassageTable
from server.retrieval.index.relevance import NUM_CANDIDATES
from server.retrieval.index.small_talk import SMALL_TALK, SMALL_TALK_OF
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.index.vector_index import INDEX_FILE, VectorIndex
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 4096  # with 500 queries some 30 MiB at a time
DEPTHS = (1, 5, 10, NUM_CANDIDATES)  # the last is what the server ranks
_SAME_SCORE = 1e-5
_USUAL_BREADTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_WIDE_CANDIDATES = (256, 512, 1024)
_MOST_NODES = 4096
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


def sweep(
    folder: Path, facts: IndexFacts, queries: NDArray[np.float32], progress: Progress, floor: float = 0.0
) -> list[OperatingPoint]:
    """Measure the index of `folder` over a range of breadths, against exact search, at the depth that is served; over
    ever wider ones while no point is above the floor.
    """
    vectors = StoredVectors(folder / VECTORS_FILE)
    points: list[OperatingPoint] = []
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        usual, wider = list(_settings(facts, len(vectors))), _wider_settings(facts)
        with progress.stage("exact", len(vectors), "vector") as bar:
            truth = Truth.of(queries, vectors, bar.update)
        with progress.stage("evaluate", len(usual), "point") as bar:
            settings = usual
            while settings:
                for setting in settings:
                    index = VectorIndex(folder / INDEX_FILE, setting, vectors)
                    points.append(_measure(index, setting, queries, truth=truth))
                    vectors.forget_pages()
                    bar.update()
                settings = [] if _above(points, floor) else next(wider, [])
    finally:
        faiss.omp_set_num_threads(threads)
    return points


def best_point(points: list[OperatingPoint], floor: float) -> OperatingPoint:
    """The fastest point whose recall is above the floor for sure, at depth 10 and at the depth that is served; the most
    exact one where none is.
    """
    if good := _above(points, floor):
        return min(good, key=lambda point: point.p50_ms)
    return max(points, key=lambda point: (min(point.recall_at_10, point.recall_at_64), -point.p50_ms))


def _above(points: list[OperatingPoint], floor: float) -> list[OperatingPoint]:
    return [point for point in points if min(point.recall_at_10_low, point.recall_at_64_low) >= floor]


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
        for breadth in _USUAL_BREADTHS:
            if breadth <= num_vectors // 10:
                yield msgspec.structs.replace(facts, breadth=breadth, num_candidates=num_candidates)


def _wider_settings(facts: IndexFacts) -> Iterator[list[IndexFacts]]:
    """Of an inverted file, all its lists in the end; of a graph, some thousand of its nodes."""
    if facts.kind in ("flat", "other"):
        return
    lists = re.search(r"IVF(\d+)", facts.factory)
    most = int(lists[1]) if lists else _MOST_NODES
    breadth = _USUAL_BREADTHS[-1]
    while breadth < most:
        breadth = min(2 * breadth, most)
        yield [msgspec.structs.replace(facts, breadth=breadth, num_candidates=each) for each in _WIDE_CANDIDATES]


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


NUM_QUERIES = 500
NUM_EXACT_QUERIES = 50  # of an index that is exact: they measure its time, its recall is 1
_MAX_WORDS = 8  # people ask in few words
_WORD = re.compile(r"\w")
SHARE_UNDER_FLOOR = 97.0
PLOT_FILE = "recall.png"


def asked_queries(path: Path, encoder: Encoder) -> Queries:
    """The questions of a file, one a line: JSON objects with a `question`, or plain text.

    Raises:
        RetrievalError: it cannot be read, or holds none.
    """
    try:
        texts = [_question(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError, KeyError) as error:
        raise RetrievalError(f"--questions {str(path)!r}: no questions, one a line: {error}") from error
    if not texts:
        raise RetrievalError(f"--questions {str(path)!r} holds no question")
    return Queries(encoder.encode(texts, role="query"), f"{len(texts)} questions of {path.name}")


def made_queries(folder: Path, language: str, encoder: Encoder, number: int = NUM_QUERIES) -> Queries:
    """Titles, headings and the beginnings of sentences, in turns, of passages spread over the index of `folder`."""
    table = PassageTable(folder / PASSAGES_FILE)
    try:
        rows = np.linspace(0, len(table) - 1, min(number, len(table))).astype(np.int64)
        texts = list(_made(table, rows.tolist(), language))
    finally:
        table.close()
    return Queries(encoder.encode(texts, role="query"), f"{len(texts)} titles, headings and beginnings of sentences")


def _question(line: str) -> str:
    return str(json.loads(line)["question"]) if line.lstrip().startswith("{") else line.strip()


def _made(table: PassageTable, rows: list[int], language: str) -> Iterator[str]:
    for turn, number in enumerate(rows):
        row = table.row(number)
        sentences = split_sentences(row.text, language)
        beginning = _few_words(sentences[turn // 3 % len(sentences)] if sentences else row.text)
        heading = f"{row.section.rpartition(' > ')[2]} {row.title}".strip()
        wanted = (beginning, heading, row.title)[turn % 3]
        yield wanted if _WORD.search(wanted) else beginning or row.text


def _few_words(sentence: str) -> str:
    """The beginning of a sentence; of a language that writes no spaces, some characters."""
    words = sentence.split()
    return " ".join(words[:_MAX_WORDS]) if len(words) > 1 else sentence[: 4 * _MAX_WORDS]


def draw(points: list[OperatingPoint], chosen: OperatingPoint, floor: float, path: Path) -> None:
    """recall@10 over the median latency of a query, one line a number of candidates, as a PNG at `path`."""
    from matplotlib.figure import Figure  # half a second that only this needs

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(points, key=lambda point: (point.num_candidates, point.breadth))
    for num_candidates, group in groupby(ordered, key=lambda point: point.num_candidates):
        line = list(group)
        axes.plot(
            [point.p50_ms for point in line],
            [point.recall_at_10 for point in line],
            marker="o",
            markersize=3,
            label=f"{num_candidates} candidates" if num_candidates else "exact",
        )
    axes.plot([chosen.p50_ms], [chosen.recall_at_10], marker="*", markersize=14, color="black", linestyle="none")
    axes.axhline(floor, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="median latency of a query, one thread (ms)", ylabel="recall@10", xscale="log")
    axes.set_title(f"chosen (star): breadth {chosen.breadth}, {chosen.num_candidates} candidates; dashed: the floor")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120, format="png")


def small_talk_floor(encoder: Encoder, vectors: StoredVectors, language: str, progress: Progress) -> float:
    """The cosine similarity to its nearest passage that nearly all small talk of a language stays under."""
    said = SMALL_TALK_OF.get(language, SMALL_TALK)
    with progress.stage("floor", len(vectors), "vector") as bar:
        scores, _ = exact_neighbours(encoder.encode(said, role="query"), vectors, 1, on_rows=bar.update)
    return round(float(np.percentile(scores[:, 0], SHARE_UNDER_FLOOR)), 3)


def queries_for(folder: Path, encoder: Encoder, questions: Path | None) -> Queries:
    """What recall is measured on: the questions of a file, else what is made from the passages.

    Raises:
        RetrievalError: the file holds no questions.
    """
    if questions is not None:
        return asked_queries(questions, encoder)
    manifest = read_manifest(folder)
    number = NUM_EXACT_QUERIES if manifest.index.kind == "flat" else NUM_QUERIES
    return made_queries(folder, manifest.passages.language, encoder, number=number)


def evaluate(
    folder: Path, recall_floor: float, queries: Queries, progress: Progress
) -> tuple[Manifest, OperatingPoint]:
    """Measure, choose the operating point, draw recall against latency, and rewrite the manifest.

    The manifest is written whatever was found; `publish` refuses an index below the floor.
    """
    manifest = read_manifest(folder)
    points = sweep(folder, manifest.index, queries.vectors, progress=progress, floor=recall_floor)
    chosen = best_point(points, recall_floor)
    write_whole(folder / PLOT_FILE, lambda draft: draw(points, chosen, recall_floor, path=draft))
    evaluated = msgspec.structs.replace(
        manifest,
        index=operated_at(manifest.index, chosen, points, queries=queries),
        files=manifest.files | {PLOT_FILE: file_facts(folder / PLOT_FILE)},
    )
    store_manifest(folder, evaluated)
    return evaluated, chosen
