"""The files of an index folder, written from shards as a stream: passages, documents, vectors, and words both as a row
a passage and as the passages of each word.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy

from index_builder.embeddings import VectorShards, read_shard, rows_of_shard
from index_builder.index.faiss_index import IndexChoice, IndexKind, choose_index, write_inverted_file
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted, write_whole
from server.retrieval.index.inverted_words import WORD_ROWS_FILE, WORD_STARTS_FILE, WORDS_FILE
from server.retrieval.index.lexical_index import NUM_BUCKETS, OPENING, TERM_COUNTS_FILE, TERM_STARTS_FILE, TERMS_FILE
from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.mapped_array import mapped_array
from server.retrieval.index.passage_table import PASSAGES_FILE, SCHEMA
from server.retrieval.index.stored_vectors import VECTORS_FILE
from server.retrieval.index.terms import FIRST_TERM
from server.retrieval.index.vector_index import INDEX_FILE, LISTS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

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


_PART_PAIRS = 1 << 22  # sorted at once, of eight bytes
_BLOCK_ROWS = 1 << 16


def write_lexical_files(shards: list[Path], folder: Path, progress: Progress) -> list[str]:
    """Write the terms, their starts and their counts, one shard after another; the files' names."""
    sizes = [_size(_column(shard)) for shard in shards]
    num_passages, num_terms = (sum(numbers) for numbers in zip(*sizes, strict=True))
    counts = np.zeros(NUM_BUCKETS, dtype=np.uint32)
    with (
        progress.stage("words", num_passages, "passage") as bar,
        drafted(folder / TERMS_FILE) as terms_draft,
        drafted(folder / TERM_STARTS_FILE) as starts_draft,
        terms_draft.open("wb") as terms_file,
        starts_draft.open("wb") as starts_file,
    ):
        begin_array(terms_file, "<u4", num_terms)
        begin_array(starts_file, "<i8", num_passages + 1)
        start = 0
        for shard in shards:
            lengths, terms = _flat(_column(shard))
            terms_file.write(terms.astype("<u4").tobytes())
            starts_file.write((start + np.cumsum(lengths) - lengths).astype("<i8").tobytes())
            start += len(terms)
            _count(counts, lengths, terms)
            bar.update(len(lengths))
        starts_file.write(np.array([start], dtype="<i8").tobytes())
    with drafted(folder / TERM_COUNTS_FILE) as draft, draft.open("wb") as file:
        np.save(file, counts)
    return [TERMS_FILE, TERM_STARTS_FILE, TERM_COUNTS_FILE]


def begin_array(file: BinaryIO, kind: str, length: int) -> None:
    """Write the head of a .npy file of so many numbers, which follow as a stream."""
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (length,)})


def _column(shard: Path) -> pa.ListArray:
    return read_shard(shard)["terms"].combine_chunks()


def _size(column: pa.ListArray) -> tuple[int, int]:
    """Passages and terms."""
    return len(column), column.offsets[-1].as_py() - column.offsets[0].as_py()


def _flat(column: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    offsets = column.offsets.to_numpy().astype(np.int64)
    return np.diff(offsets), column.values.to_numpy()[offsets[0] : offsets[-1]]


def _count(counts: NDArray[np.uint32], lengths: NDArray[np.int64], terms: NDArray[np.uint32]) -> None:
    """Count every passage once for every bucket that one of its terms falls into."""
    rows = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    words = terms != OPENING
    pairs = _distinct(rows[words] * NUM_BUCKETS + terms[words].astype(np.int64) % NUM_BUCKETS)
    counts += np.bincount(pairs % NUM_BUCKETS, minlength=NUM_BUCKETS).astype(np.uint32)


def write_inverted_words(folder: Path, progress: Progress, part_pairs: int = _PART_PAIRS) -> list[str]:
    """Invert the term files in `folder`; the names of the files written.

    Pairs of term and row are dealt into parts by the term, which a checksum spreads evenly, and sorted part by part.
    """
    terms = mapped_array(folder / TERMS_FILE, np.uint32, 1)
    starts = mapped_array(folder / TERM_STARTS_FILE, np.int64, 1)
    num_parts = -(-len(terms) // part_pairs) or 1
    with (
        progress.stage("inversion", len(starts) - 1, "passage") as bar,
        tempfile.TemporaryDirectory(dir=folder) as parts,
        drafted(folder / WORD_ROWS_FILE) as draft,
    ):
        paths = [Path(parts) / f"{number}" for number in range(num_parts)]
        for num_rows, pairs in _pairs(terms, starts):
            _deal(pairs, paths)
            bar.update(num_rows)
        words, sizes = _write_rows(paths, draft)
    _save(folder / WORDS_FILE, words)
    _save(folder / WORD_STARTS_FILE, np.concatenate([[0], np.cumsum(sizes)]).astype("<i8"))
    return [WORDS_FILE, WORD_STARTS_FILE, WORD_ROWS_FILE]


def _pairs(terms: NDArray[np.uint32], starts: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Blocks of passages as how many they are and their pairs, each once: the term's 32 bits above the row's."""
    for first in range(0, len(starts) - 1, _BLOCK_ROWS):
        bounds = np.asarray(starts[first : first + _BLOCK_ROWS + 1])
        found = np.asarray(terms[bounds[0] : bounds[-1]]).astype(np.uint64)
        rows = np.repeat(np.arange(first, first + len(bounds) - 1, dtype=np.uint64), np.diff(bounds))
        words = found >= FIRST_TERM
        yield len(bounds) - 1, _distinct(found[words] << np.uint64(32) | rows[words])


def _deal(pairs: NDArray[np.uint64], paths: list[Path]) -> None:
    owners = (pairs >> np.uint64(32)) * np.uint64(len(paths)) >> np.uint64(32)
    for number, path in enumerate(paths):
        with path.open("ab") as file:
            file.write(pairs[owners == number].tobytes())


def _write_rows(paths: list[Path], draft: Path) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Write all rows, term by term; the terms and how many rows each has."""
    words: list[NDArray[np.uint32]] = []
    sizes: list[NDArray[np.int64]] = []
    with draft.open("wb") as file:
        begin_array(file, "<u4", sum(path.stat().st_size // 8 for path in paths))
        for path in paths:
            found, counts = _sorted_part(path, file)
            words.append(found)
            sizes.append(counts)
    return np.concatenate(words), np.concatenate(sizes)


def _sorted_part(path: Path, file: BinaryIO) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    pairs = np.fromfile(path, dtype=np.uint64)
    pairs.sort()
    file.write(pairs.astype("<u4").tobytes())  # the lower half of each
    terms = (pairs >> np.uint64(32)).astype("<u4")
    starts = np.flatnonzero(_is_first(terms))
    return terms[starts], np.diff(starts, append=len(terms))


Number = TypeVar("Number", bound=np.generic)


def _distinct(numbers: NDArray[Number]) -> NDArray[Number]:
    """Each once, in order; the array is sorted in place, which processors do faster than NumPy looks numbers up."""
    numbers.sort()
    return numbers[_is_first(numbers)]


def _is_first(ordered: NDArray[Number]) -> NDArray[np.bool_]:
    return np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]


def _save(path: Path, array: NDArray[np.generic]) -> None:
    with drafted(path) as draft, draft.open("wb") as file:
        np.save(file, array)
