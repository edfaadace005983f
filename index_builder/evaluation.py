"""Evaluates an index folder: questions, the operating point with recall's picture, and the floor of scores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np

from index_builder.sweep import OperatingPoint, Queries, best_point, exact_neighbours, operated_at, sweep
from index_builder.manifest import file_facts, store_manifest
from index_builder.passages.window import split_sentences
from index_builder.progress import Progress
from index_builder.work_folder import write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.passage_table import PassageTable
from server.retrieval.index.retriever import PASSAGES_FILE
from server.retrieval.index.small_talk import SMALL_TALK, SMALL_TALK_OF
from server.retrieval.index.stored_vectors import StoredVectors
from server.retrieval.retriever import RetrievalError

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
    points = sweep(folder, manifest.index, queries.vectors, progress=progress)
    chosen = best_point(points, recall_floor)
    write_whole(folder / PLOT_FILE, lambda draft: draw(points, chosen, recall_floor, path=draft))
    evaluated = msgspec.structs.replace(
        manifest,
        index=operated_at(manifest.index, chosen, points, queries=queries),
        files=manifest.files | {PLOT_FILE: file_facts(folder / PLOT_FILE)},
    )
    store_manifest(folder, evaluated)
    return evaluated, chosen
