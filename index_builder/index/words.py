"""The words of all passages, copied from the shards into the files that candidates are ranked by."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from index_builder.vector_shards import read_shard
from index_builder.progress import Progress
from index_builder.work_folder import drafted
from server.retrieval.index.inverted_words import WORD_ROWS_FILE, WORD_STARTS_FILE, WORDS_FILE
from server.retrieval.index.lexical_index import NUM_BUCKETS, OPENING, TERM_COUNTS_FILE, TERM_STARTS_FILE, TERMS_FILE
from server.retrieval.index.mapped_array import mapped_array
from server.retrieval.index.terms import FIRST_TERM

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    pairs = np.unique(rows[words] * NUM_BUCKETS + terms[words].astype(np.int64) % NUM_BUCKETS)
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
        yield len(bounds) - 1, np.unique(found[words] << np.uint64(32) | rows[words])


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
    found, counts = np.unique(pairs >> np.uint64(32), return_counts=True)
    return found.astype("<u4"), counts


def _save(path: Path, array: NDArray[np.generic]) -> None:
    with drafted(path) as draft, draft.open("wb") as file:
        np.save(file, array)
