"""Evaluates an index folder and writes the operating point and all measurements into its manifest."""

from __future__ import annotations

from pathlib import Path

import msgspec

from index_builder.evaluation.plot import draw
from index_builder.evaluation.queries import Queries, asked_queries, made_queries
from index_builder.evaluation.sweep import OperatingPoint, best_point, operated_at, sweep
from index_builder.manifest import file_facts, store_manifest
from index_builder.progress import Progress
from index_builder.work_folder import write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import Manifest, read_manifest

PLOT_FILE = "recall.png"


def queries_for(folder: Path, encoder: Encoder, questions: Path | None) -> Queries:
    """What recall is measured on: the questions of a file, else what is made from the passages.

    Raises:
        RetrievalError: the file holds no questions.
    """
    if questions is not None:
        return asked_queries(questions, encoder)
    return made_queries(folder, read_manifest(folder).passages.language, encoder)


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
