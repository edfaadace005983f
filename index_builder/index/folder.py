"""The index folder's passages and vectors, written from shards as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from index_builder.embeddings.vector_shard import read_shard, rows_of_shard
from index_builder.index.vector_shards import VectorShards
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted
from server.retrieval.index.passage_table import SCHEMA
from server.retrieval.index.retriever import PASSAGES_FILE
from server.retrieval.index.stored_vectors import VECTORS_FILE

ROWS_PER_BATCH = 1024


def write_passage_file(work: WorkFolder, folder: Path, progress: Progress) -> None:
    """All passages in one Arrow file whose record batches, but for the last, hold ROWS_PER_BATCH rows."""
    shards = work.passage_shards()
    with progress.stage("texts", sum(rows_of_shard(path) for path in shards), "passage") as bar:
        write_even_batches((read_shard(path) for path in shards), folder / PASSAGES_FILE, bar.update)


def write_even_batches(
    tables: Iterator[pa.Table], path: Path, on_rows: Callable[[int], object] = lambda _: None
) -> None:
    """`tables` after one another in an Arrow file of even record batches; `on_rows` hears of each."""
    with drafted(path) as draft, pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for table in _even_tables(tables):
            writer.write_table(table.combine_chunks())
            on_rows(table.num_rows)


def write_vector_file(vectors: VectorShards, folder: Path, progress: Progress) -> None:
    """All vectors in one float16 matrix, row by row beside the passages; written as a stream, so nothing is mapped."""
    header = {"descr": "<f2", "fortran_order": False, "shape": (vectors.num_rows, vectors.dimension)}
    with (
        progress.stage("vectors", vectors.num_rows, "vector") as bar,
        drafted(folder / VECTORS_FILE) as draft,
        draft.open("wb") as file,
    ):
        npy.write_array_header_1_0(file, header)
        for shard in vectors.shards:
            file.write(np.load(shard.path).astype("<f2").tobytes())
            bar.update(shard.num_rows)


def _even_tables(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting = SCHEMA.empty_table()
    for table in tables:
        waiting = pa.concat_tables([waiting, table.select(SCHEMA.names).replace_schema_metadata(None)])
        while waiting.num_rows >= ROWS_PER_BATCH:
            yield waiting.slice(0, ROWS_PER_BATCH)
            waiting = waiting.slice(ROWS_PER_BATCH)
    if waiting.num_rows:
        yield waiting
