"""The index folder's passages and vectors, written from shards as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap

from index_builder.embeddings.shard import read_shard
from index_builder.work_folder import WorkFolder, drafted
from server.retrieval.index_retriever import PASSAGES_FILE, VECTORS_FILE
from server.retrieval.passage_table import SCHEMA

ROWS_PER_BATCH = 1024


def write_passage_file(work: WorkFolder, folder: Path) -> None:
    """All passages in one Arrow file whose record batches, but for the last, hold ROWS_PER_BATCH rows."""
    with (
        drafted(folder / PASSAGES_FILE) as draft,
        pa.OSFile(str(draft), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
    ):
        for table in _even_tables(work):
            writer.write_table(table.combine_chunks())


def write_vector_file(work: WorkFolder, folder: Path, num_rows: int, dimension: int) -> None:
    """All vectors in one float16 matrix, row by row beside the passages."""
    with drafted(folder / VECTORS_FILE) as draft:
        matrix = open_memmap(draft, mode="w+", dtype=np.float16, shape=(num_rows, dimension))
        start = 0
        for number in range(len(work.passage_shards())):
            shard = np.load(work.vector_shard(number), mmap_mode="r")
            matrix[start : start + len(shard)] = shard
            start += len(shard)
        assert start == num_rows, (start, num_rows)
        matrix.flush()


def _even_tables(work: WorkFolder) -> Iterator[pa.Table]:
    waiting = SCHEMA.empty_table()
    for path in work.passage_shards():
        waiting = pa.concat_tables([waiting, read_shard(path).replace_schema_metadata(None)])
        while waiting.num_rows >= ROWS_PER_BATCH:
            yield waiting.slice(0, ROWS_PER_BATCH)
            waiting = waiting.slice(ROWS_PER_BATCH)
    if waiting.num_rows:
        yield waiting
