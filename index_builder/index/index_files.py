"""The index folder's passages and vectors, written from shards as a stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy

from index_builder.vector_shards import VectorShards, read_shard, rows_of_shard
from index_builder.index.faiss_index import IndexChoice, IndexKind, choose_index
from index_builder.index.inverted_file import write_inverted_file
from index_builder.index.words import write_inverted_words, write_lexical_files
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted, write_whole
from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.passage_table import SCHEMA
from server.retrieval.index.retriever import PASSAGES_FILE
from server.retrieval.index.stored_vectors import VECTORS_FILE
from server.retrieval.index.vector_index import INDEX_FILE, LISTS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray


ROWS_PER_BATCH = 1024
DOCUMENTS_FILE = "documents.arrow"
DOCUMENT_SCHEMA = pa.schema([("document_id", pa.string()), ("digest", pa.binary(16)), ("first_row", pa.int64())])
_SAMPLE_ROWS = 50_000


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


def write_in_memory_index(choice: IndexChoice, vectors: VectorShards, folder: Path, progress: Progress) -> list[str]:
    """Add all vectors in order and write `knn.index` into `folder`; its name."""
    index = faiss.index_factory(vectors.dimension, choice.factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(vectors.sample(_SAMPLE_ROWS))
    with progress.stage("index", vectors.num_rows, "vector") as bar:
        for shard in vectors.shards:
            index.add(shard.read())
            bar.update(shard.num_rows)
    write_whole(folder / INDEX_FILE, lambda draft: faiss.write_index(index, str(draft)))
    return [INDEX_FILE]


log = logging.getLogger(__name__)


def write_index_files(
    wanted: IndexKind | IndexChoice, work: WorkFolder, folder: Path, progress: Progress
) -> tuple[IndexFacts, list[str]]:
    """Write all files but the manifest; what the index is, and the files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = VectorShards.of(work.vector_shards())
    choice = wanted if isinstance(wanted, IndexChoice) else choose_index(wanted, vectors.num_rows, vectors.dimension)
    log.info("index.choice kind=%s factory=%s reason=%s", choice.kind, choice.factory, choice.reason)
    write_passage_file(work, folder, progress)
    write_document_file(work, folder)
    write_vector_file(vectors, folder, progress)
    lexical = write_lexical_files(work.passage_shards(), folder, progress)
    inverted = write_inverted_words(folder, progress)
    names = write_faiss_index(choice, vectors, work, folder=folder, progress=progress)
    return index_facts(choice), [*names, PASSAGES_FILE, DOCUMENTS_FILE, VECTORS_FILE, *lexical, *inverted]


def write_faiss_index(
    choice: IndexChoice, vectors: VectorShards, work: WorkFolder, folder: Path, progress: Progress
) -> list[str]:
    """Write the Faiss index of `vectors` into `folder`; its files' names."""
    if choice.is_inverted_file:
        return write_inverted_file(choice, vectors, work, folder=folder, progress=progress)
    (folder / LISTS_FILE).unlink(missing_ok=True)  # of an earlier index in this folder, which the server would open
    return write_in_memory_index(choice, vectors, folder, progress=progress)


def index_facts(choice: IndexChoice) -> IndexFacts:
    """What the manifest says of an index that was not evaluated yet."""
    return IndexFacts(
        kind=choice.kind,
        factory=choice.factory,
        metric="inner_product",
        reason=choice.reason,
        breadth=choice.breadth,
        num_candidates=choice.num_candidates,
    )
