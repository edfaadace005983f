"""What a build will take, before it begins: documents, passages, bytes of every file, disk, hours, money."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.documents import ReadReport
from index_builder.documents.file_source import FileSource
from index_builder.documents.source import source_bytes
from index_builder.embeddings import EmbedRequest, embedded_texts
from index_builder.index.faiss_index import IndexKind, choose_index, code_bytes_of, usual_sample_bytes
from index_builder.passages.batch import SHARD_SCHEMA, BatchCutter, item_batches
from index_builder.passages.window import WindowShape
from index_builder.work_folder import WorkFolderError
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.inverted_words import WORD_ROWS_FILE, WORD_STARTS_FILE, WORDS_FILE
from server.retrieval.index.lexical_index import NUM_BUCKETS
from server.retrieval.index.passage_table import SCHEMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK_S = 20.0
_PLACES = 16  # of a large source at which it is looked at: dumps of several languages follow one another
_SMALL_BYTES = 4 << 20  # a source that is read from its beginning
_ENCODED = 48  # passages that the encoder is timed on
_ROOM = 1.05
_HEAPS = 0.6


@dataclass(frozen=True)
class Estimate:
    """Of a whole build, from the part of the source that was read.

    Attributes:
        share: which part of the source was read for it.
        files: bytes of every file of the index.
        work_bytes: shards and parts beside them, until the end.
        cut_s, embed_s: seconds of one core.
    """

    share: float
    num_documents: int
    num_passages: int
    factory: str
    files: dict[str, int]
    work_bytes: int
    memory_bytes: int
    cut_s: float
    embed_s: float

    @property
    def disk_bytes(self) -> int:
        """The most that lies on the disk at once."""
        return self.work_bytes + sum(self.files.values())

    def hours(self, num_cores: int) -> float:
        """How long it takes on so many cores."""
        return (self.cut_s + self.embed_s) / num_cores / 3600


def estimate(
    source: FileSource, shape: WindowShape, request: EmbedRequest, kind: IndexKind, look_s: float = LOOK_S
) -> Estimate:
    """Cut what `look_s` seconds are enough for, at places spread over the source, encode some of it, and extrapolate
    each by the bytes of the source.
    """
    looks = _looks(source, shape, look_s)
    num_passages = round(sum(look.table.num_rows * look.weight for look in looks))
    num_documents = round(sum(look.num_documents * look.weight for look in looks))
    encoder = Encoder(request.encoder, precision=request.precision)
    choice = choose_index(kind, num_passages, encoder.dimension)
    files = _files(looks, num_passages, num_documents, dimension=encoder.dimension, factory=choice.factory)
    shards = files["passages.arrow"] + files["terms.npy"] + files["vectors.npy"]
    parts = files.get("knn.ivfdata", 0)
    return Estimate(
        share=min(1.0, sum(look.num_bytes for look in looks) / max(1, source_bytes(source))),
        num_documents=num_documents,
        num_passages=num_passages,
        factory=choice.factory,
        files=files,
        work_bytes=shards + parts,
        memory_bytes=(1 << 30) + (files["knn.index"] if choice.kind != "ivfpq" else usual_sample_bytes()),
        cut_s=sum(look.seconds * look.weight for look in looks),
        embed_s=_embed_seconds(looks, encoder) * num_passages,
    )


def refuse_small_disk(found: Estimate, folder: Path) -> None:
    """Compare with the room where the work and the index go.

    Raises:
        WorkFolderError: there is too little.
    """
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if found.disk_bytes * _ROOM > free:
        raise WorkFolderError(
            f"{place} has {free / 2**30:.1f} GiB free, the build needs {found.disk_bytes * _ROOM / 2**30:.1f} GiB at "
            "its peak; name a larger disk with --out and --work"
        )


def described(found: Estimate, price_per_hour: float | None, num_cores: int | None) -> str:
    """For a person."""
    cores = num_cores or len(os.sched_getaffinity(0))
    read = "the whole source" if found.share >= 1 else f"{100 * found.share:.1f} % of the source"
    lines = [
        f"estimate, from {read}: {found.num_documents} documents, {found.num_passages} passages, {found.factory}",
        *(f"  {name:<18} {size / 2**20:>12.1f} MiB" for name, size in sorted(found.files.items())),
        f"  index {sum(found.files.values()) / 2**30:.2f} GiB, disk at its peak {found.disk_bytes / 2**30:.2f} GiB, "
        f"memory about {found.memory_bytes / 2**30:.1f} GiB",
        f"  one core: {found.cut_s / 3600:.2f} h to cut, {found.embed_s / 3600:.2f} h to encode; {cores} cores: "
        f"{found.hours(cores):.2f} h",
    ]
    if price_per_hour is not None:
        lines.append(f"  at {price_per_hour} an hour: {price_per_hour * found.hours(cores):.2f}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Look:
    """What was cut at one place of a source; `weight` of it are as much as the source has there."""

    table: pa.Table
    num_documents: int
    num_bytes: int
    seconds: float  # of this core
    weight: float


def _looks(source: FileSource, shape: WindowShape, look_s: float) -> list[_Look]:
    """The source looked at: a small one from its beginning, a large one at places spread over it."""
    reading, total = ReadReport(), max(1, source_bytes(source))
    cutter = BatchCutter(source, shape)
    if total < _SMALL_BYTES:
        return [_look(source.items(reading), cutter, reading, seconds=look_s, num_bytes=total)]
    places = list(source.spread_items(reading, _PLACES))
    looks = [
        _look(items, cutter, reading, seconds=look_s / len(places), num_bytes=total // len(places)) for items in places
    ]
    found = [look for look in looks if look.num_bytes]
    assert found, "a source that could be opened holds an item"
    return found


def _look(items: Iterator[object], cutter: BatchCutter, reading: ReadReport, seconds: float, num_bytes: int) -> _Look:
    """Cut items for so long, or until all the bytes of the place were read."""
    started, core, before = time.monotonic(), time.process_time(), reading.source_bytes
    rows, num_documents = [], 0
    for batch in item_batches(items, 0):
        cut = cutter(batch)
        rows.append(cut.rows)
        num_documents += cut.report.num_documents
        if time.monotonic() - started > seconds or reading.source_bytes - before > num_bytes:
            break
    else:
        reading.source_bytes = before + num_bytes
    read = reading.source_bytes - before
    table = pa.Table.from_batches(rows, schema=SHARD_SCHEMA)
    return _Look(table, num_documents, read, time.process_time() - core, weight=num_bytes / max(1, read))


def _files(looks: list[_Look], num_passages: int, num_documents: int, dimension: int, factory: str) -> dict[str, int]:
    """Bytes of every file of the index."""
    values = [look.table["terms"].combine_chunks().values.to_numpy() for look in looks]
    pairs = sum(_num_pairs(look.table) * look.weight for look in looks)
    num_words = _num_words(np.concatenate(values), sum(look.table.num_rows for look in looks), num_passages)
    sizes = {
        "passages.arrow": round(sum(look.table.select(SCHEMA.names).nbytes * look.weight for look in looks)),
        "documents.arrow": num_documents * 48,
        "vectors.npy": num_passages * dimension * 2,
        "terms.npy": 4 * round(sum(len(each) * look.weight for each, look in zip(values, looks, strict=True))),
        "term_starts.npy": 8 * (num_passages + 1),
        "term_counts.npy": 4 * NUM_BUCKETS,
        WORD_ROWS_FILE: 4 * round(pairs),
        WORDS_FILE: num_words * 4,
        WORD_STARTS_FILE: num_words * 8,
    }
    if factory == "Flat":
        return sizes | {"knn.index": num_passages * dimension * 4}
    if factory.startswith("HNSW"):
        return sizes | {"knn.index": num_passages * (dimension * 2 + 2 * 32 * 4 + 24)}
    return sizes | {"knn.index": 8 << 20, "knn.ivfdata": num_passages * (code_bytes_of(factory, dimension) + 8)}


def _num_pairs(table: pa.Table) -> int:
    """Different words of each passage, summed."""
    terms = table["terms"].combine_chunks()
    return int(np.unique(terms.values.to_numpy().astype(np.uint64) << np.uint64(32) | _owners(terms)).size)


def _owners(terms: pa.ListArray) -> NDArray[np.uint64]:  # [num_terms]
    lengths = np.diff(terms.offsets.to_numpy())
    return np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)


def _num_words(values: NDArray[np.uint32], seen: int, num_passages: int) -> int:
    """Different words, which grow more slowly than texts do (Heaps' law)."""
    return round(len(np.unique(values)) * (num_passages / seen) ** _HEAPS)


def _embed_seconds(looks: list[_Look], encoder: Encoder) -> float:
    """Seconds of one core for a passage, measured on some of every place, as many as it has passages."""
    weights = np.array([look.table.num_rows * look.weight for look in looks])
    texts: list[str] = []
    for look, share in zip(looks, weights / max(1.0, weights.sum()), strict=True):
        number = min(look.table.num_rows, max(1, round(_ENCODED * share)))
        places = np.unique(np.linspace(0, max(0, look.table.num_rows - 1), number).astype(np.int64))
        texts += embedded_texts(look.table.take(pa.array(places))) if look.table.num_rows else []
    encoder.encode(texts[:2])
    started = time.process_time()
    encoder.encode(texts)
    return (time.process_time() - started) / max(1, len(texts))
