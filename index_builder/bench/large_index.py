"""An index of many synthetic, clustered vectors, made by the stages that make any index."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.bench.machine import resident_mib
from index_builder.vector_shards import EMBEDDED
from index_builder.evaluation import evaluate
from index_builder.sweep import Queries
from index_builder.index.faiss_index import IndexKind
from index_builder.index.index_files import write_index_files
from index_builder.manifest import IndexDescription, encoder_facts, new_manifest, passage_facts, store_manifest
from index_builder.passages.batch import SHARD_SCHEMA
from index_builder.passages.passage_shards import PassageTotals, write_table
from index_builder.passages.window import WindowShape
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARD_ROWS = 16384
_ROWS_PER_CLUSTER = 100
_SPREAD = 0.7  # of a cluster's rows, beside centres of spread 1: cosine similarity of about 0.67 within a cluster
_PASSAGES_PER_DOCUMENT = 10
_TERMS_PER_PASSAGE = 40
_RECALL_FLOOR = 0.95
_NUM_QUERIES = 500
_QUERY_NOISE = 0.8  # a cosine similarity of 0.78 to the row, as questions have to what answers them
_ENCODER = "sample"


def measure(folder: Path, num_vectors: int, dimension: int, kind: IndexKind) -> dict[str, object]:
    """Build, evaluate and open; the encoder only stands in the manifest, so `dimension` must be its own."""
    work, index, progress = WorkFolder(folder / "work"), folder / "index", Progress(quiet=True)
    _write_shards(work, num_vectors, dimension)
    started = time.perf_counter()
    facts, names = write_index_files(kind, work, index, progress=progress)
    build_s = time.perf_counter() - started
    totals = PassageTotals("synthetic", 0, -(-num_vectors // _PASSAGES_PER_DOCUMENT), num_passages=num_vectors)
    passages, encoder = passage_facts(totals, WindowShape(), EMBEDDED), encoder_facts(Encoder(_ENCODER))
    about = IndexDescription(
        source="synthetic",
        fingerprint="none",
        encoder=encoder,
        passages=passages,
        index=facts,
        file_names=names,
        score_floor=-1.0,
    )
    store_manifest(index, new_manifest(index, about, progress))
    manifest, chosen = evaluate(index, _RECALL_FLOOR, _queries(index), progress=progress)
    return {
        "vectors": num_vectors,
        "dimension": dimension,
        "factory": manifest.index.factory,
        "reason": manifest.index.reason,
        "build_s": round(build_s, 1),
        "evaluate_s": progress.costs["evaluate"].seconds,
        "build_and_evaluate_peak_mib": progress.peak_mib,
        "resident_mib": round(resident_mib(), 1),
        "index_mib": round(sum(file.num_bytes for file in manifest.files.values()) / 2**20, 1),
        "chosen": {
            "breadth": chosen.breadth,
            "num_candidates": chosen.num_candidates,
            "recall": manifest.index.recall,
            "latency_ms": manifest.index.latency_ms,
        },
        "sweep": manifest.index.sweep,
        "opening": _opened_elsewhere(index),
    }


def _queries(index: Path) -> Queries:
    """Stored rows moved a little: synthetic vectors have no questions."""
    vectors = StoredVectors(index / VECTORS_FILE)
    generator = np.random.default_rng(7)
    rows = np.sort(generator.choice(len(vectors), min(_NUM_QUERIES, len(vectors)), replace=False))
    noise = generator.standard_normal((len(rows), vectors.dimension), dtype=np.float32)
    found = vectors.rows(rows) + _QUERY_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return Queries(found / np.linalg.norm(found, axis=1, keepdims=True), "stored vectors, moved")


def _opened_elsewhere(index: Path) -> object:
    command = [sys.executable, "-m", "index_builder.bench", "opening", "--index", str(index), "--encoder", _ENCODER]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["opening"]


def _write_shards(work: WorkFolder, num_vectors: int, dimension: int) -> None:
    generator = np.random.default_rng(11)
    centres = generator.standard_normal((max(8, num_vectors // _ROWS_PER_CLUSTER), dimension), dtype=np.float32)
    for number, start in enumerate(range(0, num_vectors, _SHARD_ROWS)):
        size = min(_SHARD_ROWS, num_vectors - start)
        rows = _rows(generator, centres, size)
        write_whole(work.vector_shard(number), partial(_save, matrix=rows))
        table = _passages(generator, start, size)
        write_whole(work.passage_shard(number), partial(write_table, table=table))


def _save(path: Path, matrix: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, matrix)


def _rows(generator: np.random.Generator, centres: NDArray[np.float32], size: int) -> NDArray[np.float16]:
    rows = centres[generator.integers(len(centres), size=size)]
    rows = rows + _SPREAD * generator.standard_normal(rows.shape, dtype=np.float32)
    unit: NDArray[np.float16] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return unit


def _passages(generator: np.random.Generator, start: int, size: int) -> pa.Table:
    numbers = range(start, start + size)
    offsets = pa.array(np.arange(size + 1, dtype=np.int32) * _TERMS_PER_PASSAGE)
    terms = pa.array(generator.integers(16, 1 << 20, size * _TERMS_PER_PASSAGE, dtype=np.uint32))
    columns = {
        "passage_id": [f"{n // _PASSAGES_PER_DOCUMENT}:{n % _PASSAGES_PER_DOCUMENT}" for n in numbers],
        "document_id": [str(n // _PASSAGES_PER_DOCUMENT) for n in numbers],
        "title": [f"Document {n // _PASSAGES_PER_DOCUMENT}" for n in numbers],
        "section": [""] * size,
        "text": [f"Passage {n} says nothing, at the length of three sentences. " * 4 for n in numbers],
        "url": [""] * size,
        "start": [0] * size,
        "end": [240] * size,
        "fields": [""] * size,
        "terms": pa.ListArray.from_arrays(offsets, terms),
        "digest": [None] * size,
    }
    return pa.table(columns, schema=SHARD_SCHEMA)
