"""What a build will take, before it begins: documents, passages, bytes of every file, disk, hours, money."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.documents import ReadReport
from index_builder.documents.source import Source, source_bytes
from index_builder.embeddings.encoding import EmbedRequest
from index_builder.embeddings.vector_shards import embedded_texts
from index_builder.index.choice import IndexKind, choose_index, code_bytes_of, usual_sample_bytes
from index_builder.passages.batch import BatchCutter, item_batches
from index_builder.passages.window import WindowShape
from index_builder.work_folder import WorkFolderError
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.inverted_words import WORD_ROWS_FILE, WORD_STARTS_FILE, WORDS_FILE
from server.retrieval.index.lexical_index import NUM_BUCKETS
from server.retrieval.index.passage_table import SCHEMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK_S = 20.0
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
    source: Source, shape: WindowShape, request: EmbedRequest, kind: IndexKind, look_s: float = LOOK_S
) -> Estimate:
    """Cut what `look_s` seconds are enough for, encode some of it, and extrapolate by bytes of the source."""
    table, report, seconds = _looked_at(source, shape, look_s)
    share = min(1.0, report.source_bytes / max(1, source_bytes(source)))
    num_passages = round(table.num_rows / share)
    encoder = Encoder(request.encoder, precision=request.precision)
    choice = choose_index(kind, num_passages, encoder.dimension)
    files = _files(
        table, num_passages, round(report.num_documents / share), dimension=encoder.dimension, factory=choice.factory
    )
    shards = files["passages.arrow"] + files["terms.npy"] + files["vectors.npy"]
    parts = files.get("knn.ivfdata", 0)
    return Estimate(
        share=share,
        num_documents=round(report.num_documents / share),
        num_passages=num_passages,
        factory=choice.factory,
        files=files,
        work_bytes=shards + parts,
        memory_bytes=(1 << 30) + (files["knn.index"] if choice.kind != "ivfpq" else usual_sample_bytes()),
        cut_s=seconds / share,
        embed_s=_embed_seconds(table, encoder) * num_passages,
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


def _looked_at(source: Source, shape: WindowShape, look_s: float) -> tuple[pa.Table, ReadReport, float]:
    """Passages of the beginning of a source, what was read for them, and how many seconds of this core."""
    reading = ReadReport()
    cutter = BatchCutter(source, shape)
    started, core = time.monotonic(), time.process_time()
    rows = []
    for batch in item_batches(source.items(reading), 0):
        cut = cutter(batch)
        rows.append(cut.rows)
        reading.num_documents += cut.report.num_documents
        if time.monotonic() - started > look_s:
            break
    else:
        reading.source_bytes = source_bytes(source)
    seconds = max(time.process_time() - core, 1e-3)
    assert rows, "a source that could be opened holds an item"
    return pa.Table.from_batches(rows), reading, seconds


def _files(table: pa.Table, num_passages: int, num_documents: int, dimension: int, factory: str) -> dict[str, int]:
    """Bytes of every file of the index."""
    seen = max(1, table.num_rows)
    terms = table["terms"].combine_chunks()
    values = terms.values.to_numpy()
    pairs = np.unique(values.astype(np.uint64) << np.uint64(32) | _owners(terms)).size / seen
    row_bytes = table.select(SCHEMA.names).nbytes / seen
    sizes = {
        "passages.arrow": round(row_bytes * num_passages),
        "documents.arrow": num_documents * 48,
        "vectors.npy": num_passages * dimension * 2,
        "terms.npy": round(len(values) / seen * num_passages) * 4,
        "term_starts.npy": 8 * (num_passages + 1),
        "term_counts.npy": 4 * NUM_BUCKETS,
        WORD_ROWS_FILE: round(pairs * num_passages) * 4,
        WORDS_FILE: _num_words(values, seen, num_passages) * 4,
        WORD_STARTS_FILE: _num_words(values, seen, num_passages) * 8,
    }
    if factory == "Flat":
        return sizes | {"knn.index": num_passages * dimension * 4}
    if factory.startswith("HNSW"):
        return sizes | {"knn.index": num_passages * (dimension * 2 + 2 * 32 * 4 + 24)}
    return sizes | {"knn.index": 8 << 20, "knn.ivfdata": num_passages * (code_bytes_of(factory, dimension) + 8)}


def _owners(terms: pa.ListArray) -> NDArray[np.uint64]:  # [num_terms]
    lengths = np.diff(terms.offsets.to_numpy())
    return np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)


def _num_words(values: NDArray[np.uint32], seen: int, num_passages: int) -> int:
    """Different words, which grow more slowly than texts do (Heaps' law)."""
    return round(len(np.unique(values)) * (num_passages / seen) ** _HEAPS)


def _embed_seconds(table: pa.Table, encoder: Encoder) -> float:
    """Seconds of one core for a passage, measured on some spread over what was cut."""
    places = np.unique(np.linspace(0, table.num_rows - 1, min(_ENCODED, table.num_rows)).astype(np.int64))
    texts = embedded_texts(table.take(pa.array(places)))
    encoder.encode(texts[:2])
    started = time.process_time()
    encoder.encode(texts)
    return (time.process_time() - started) / len(texts)
