"""The index folder's passages and vectors, written from shards as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy

from index_builder.embeddings.vector_shard import read_shard, rows_of_shard
from index_builder.embeddings.vector_shards import VectorShards
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted
from server.retrieval.index.passage_table import SCHEMA
from server.retrieval.index.retriever import PASSAGES_FILE
from server.retrieval.index.stored_vectors import VECTORS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_PER_BATCH = 1024
DOCUMENTS_FILE = "documents.arrow"
DOCUMENT_SCHEMA = pa.schema([("document_id", pa.string()), ("digest", pa.binary(16)), ("first_row", pa.int64())])


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


def write_document_file(work: WorkFolder, folder: Path) -> None:
    """Which passages are whose: a row a document, with what its item in the source was known by."""
    with (
        drafted(folder / DOCUMENTS_FILE) as draft,
        pa.OSFile(str(draft), "wb") as sink,
        pa.ipc.new_file(sink, DOCUMENT_SCHEMA) as writer,
    ):
        first_row = 0
        last_id: str | None = None
        for path in work.passage_shards():
            shard = read_shard(path).select(["document_id", "digest"]).combine_chunks()
            starts, last_id = _document_starts(shard["document_id"].combine_chunks(), last_id)
            rows = shard.take(pa.array(starts)).append_column("first_row", pa.array(starts + first_row))
            writer.write_table(rows.cast(DOCUMENT_SCHEMA))
            first_row += shard.num_rows


def _document_starts(ids: pa.Array, last_id: str | None) -> tuple[NDArray[np.int64], str | None]:
    """The rows at which another document begins than that of the row before."""
    if not len(ids):
        return np.empty(0, dtype=np.int64), last_id
    runs = pc.run_end_encode(ids)
    starts = np.append(0, runs.run_ends.to_numpy()[:-1]).astype(np.int64)
    begins = starts if ids[0].as_py() != last_id else starts[1:]
    return begins, ids[-1].as_py()


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
