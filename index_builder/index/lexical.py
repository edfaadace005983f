"""The words of all passages, copied from the shards into the files that candidates are ranked by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from index_builder.embeddings.vector_shard import read_shard
from index_builder.progress import Progress
from index_builder.work_folder import drafted
from server.retrieval.index.lexical_index import NUM_BUCKETS, OPENING, TERM_COUNTS_FILE, TERM_STARTS_FILE, TERMS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    pairs = np.unique(rows[words] * NUM_BUCKETS + terms[words].astype(np.int64) % NUM_BUCKETS)
    counts += np.bincount(pairs % NUM_BUCKETS, minlength=NUM_BUCKETS).astype(np.uint32)
