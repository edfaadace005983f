"""The published wikipedia-3sentence-level-retrieval-index: its layout, what of it a folder holds, its rows and
vectors.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index_builder.documents import ReadReport
from index_builder.documents.document import SkippedError, note_skipped
from index_builder.documents.encodings import decoded
from index_builder.documents.outline import one_line
from index_builder.documents.records import ColumnError, Columns, label, plain_columns
from index_builder.passages.passage_shards import UniqueIds
from server.retrieval.index.vector_index import INDEX_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXT_COLUMN = "text_snippet"
POSITION_COLUMN = "position_in_source_text"
_BATCH_ROWS = 1024
_BUFFER_BYTES = 1 << 20


class LayoutError(ValueError):
    """A folder that cannot be imported; the sentence names the file, what was found and what is legal."""


@dataclass(frozen=True)
class PublishedFolder:
    """The files of a published index.

    Attributes:
        tables: Parquet files with one passage a row, in order.
        arrays: .npy files with one vector a row, in the passages' order; maybe none.
        index: the Faiss index of the same vectors, None where there is none.
    """

    path: Path
    tables: tuple[Path, ...]
    arrays: tuple[Path, ...]
    index: Path | None

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [*self.tables, *self.arrays, *([self.index] if self.index else [])]

    def name(self, path: Path) -> str:
        """The path of a file within the folder, with slashes."""
        return path.relative_to(self.path).as_posix()


def find_layout(path: Path) -> PublishedFolder:
    """What is in the folder `path`; files that are numbered are taken in the order of their numbers.

    Raises:
        LayoutError: it is no folder, has no table of passages, or several indexes.
    """
    if not path.is_dir():
        raise LayoutError(f"--from {str(path)!r}: no such folder")
    tables = _numbered(path, ".parquet")
    if not tables:
        there = ", ".join(sorted(each.name for each in path.iterdir())[:20]) or "nothing"
        raise LayoutError(
            f"--from {str(path)!r} holds no .parquet file of passages beside {INDEX_FILE}; it holds {there}"
        )
    indexes = sorted(path.rglob(INDEX_FILE))
    if len(indexes) > 1:
        raise LayoutError(f"--from {str(path)!r} holds {len(indexes)} files {INDEX_FILE}; name the folder of one index")
    return PublishedFolder(path, tables, _numbered(path, ".npy"), index=indexes[0] if indexes else None)


def _numbered(folder: Path, ending: str) -> tuple[Path, ...]:
    found = (path for path in folder.rglob(f"*{ending}") if path.is_file() and not path.name.startswith("."))
    return tuple(sorted(found, key=lambda path: _order(path.relative_to(folder).as_posix())))


def _order(name: str) -> list[tuple[int, str]]:
    """Sorts part_10 behind part_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class PublishedPassage:
    """One row of the table that holds text; `start` is its first character in its document."""

    row: int
    text: str
    title: str
    url: str
    document_id: str
    ordinal: int
    start: int


class PublishedTable:
    """Parquet files of passages.

    Where one document ends and the next begins is told by the first of these columns that is there: the id that was
    named, the url, the title, or the position in the document, which starts anew. Without any every passage is a
    document of its own, since a passage must never grow into another document.

    Raises:
        LayoutError: a file cannot be read, or lacks a column.
    """

    def __init__(self, paths: tuple[Path, ...], columns: Columns) -> None:
        self._paths = paths
        names = [_column_names(path) for path in paths]
        try:
            self._columns = [_found(path.name, columns, there) for path, there in zip(paths, names, strict=True)]
        except ColumnError as error:
            raise LayoutError(str(error)) from error
        self.num_rows = sum(pq.read_metadata(path).num_rows for path in paths)

    def passages(self, report: ReadReport) -> Iterator[PublishedPassage]:
        """All rows with text in order; the others are counted.

        Raises:
            LayoutError: a file is damaged.
        """
        documents = _Documents()
        number = -1
        for path, columns in zip(self._paths, self._columns, strict=True):
            for row in _rows(path, columns):
                number += 1
                try:
                    text = _text(row[columns["text"]], f"row {number}")
                except SkippedError as skipped:
                    note_skipped(report, skipped)
                    continue
                passage = documents.place(number, text, row, columns)
                report.num_documents = documents.num_documents
                yield passage


class _Documents:
    """Follows the rows and tells which document each belongs to, and where in it."""

    def __init__(self) -> None:
        self._ids = UniqueIds()
        self.num_documents = 0
        self._key: object = None
        self._position: object = None
        self._document_id = ""
        self._ordinal = self._start = 0

    def place(self, number: int, text: str, row: dict[str, object], columns: dict[str, str]) -> PublishedPassage:
        title, url, identity = (label(row, columns.get(purpose)) for purpose in ("title", "url", "id"))
        position = row.get(columns["position"]) if "position" in columns else None
        if not self._continues(identity or url or title, position):
            self.num_documents += 1
            self._document_id = self._ids.take(identity or str(self.num_documents))
            self._ordinal = self._start = 0
        self._key, self._position = identity or url or title, position
        passage = PublishedPassage(
            number, text, title, url=url, document_id=self._document_id, ordinal=self._ordinal, start=self._start
        )
        self._ordinal += 1
        self._start += len(text) + 1
        return passage

    def _continues(self, key: str, position: object) -> bool:
        if self.num_documents == 0:
            return False
        if key or self._key:
            return key == self._key
        if isinstance(position, int | float) and isinstance(self._position, int | float):
            return position > self._position
        return False


def _found(table: str, columns: Columns, names: list[str]) -> dict[str, str]:
    usual = TEXT_COLUMN if TEXT_COLUMN in names or "text" not in names else "text"
    found = Columns(columns.text or usual, columns.title, columns.id, url=columns.url).found_in(table, names)
    if columns.id is None:
        found.pop("id", None)  # a table of passages may number its passages
    return found | ({"position": POSITION_COLUMN} if POSITION_COLUMN in names else {})


def _column_names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise LayoutError(f"{path} cannot be opened as a Parquet file: {error}") from error


def _rows(path: Path, columns: dict[str, str]) -> Iterator[dict[str, object]]:
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table:
            for batch in table.iter_batches(_BATCH_ROWS, columns=sorted(set(columns.values()))):
                yield from plain_columns(batch)
    except (pa.ArrowException, OSError) as error:
        raise LayoutError(f"{path} is damaged: {str(error).splitlines()[0][:300]}") from error


def _text(value: object, name: str) -> str:
    if value is None:
        raise SkippedError("no text", name, "it is null")
    text = one_line(decoded(value, name) if isinstance(value, bytes) else str(value))
    if not text:
        raise SkippedError("no text", name, "it is empty")
    return text


class PublishedVectors(Protocol):
    """Vectors by row, in the passages' order, not yet of unit length.

    Attributes:
        origin: where they come from, for messages.
        least_similarity: what the encoder's own vector of a passage must have to the one here, at the median.
    """

    origin: str
    least_similarity: float

    @property
    def num_rows(self) -> int:
        """How many there are."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows, which ascend."""
        ...


class ArrayVectors:
    """Vectors in .npy files, one file after another, memory-mapped.

    Raises:
        LayoutError: a file is no matrix of floating-point numbers, or they differ in width.
    """

    least_similarity = 0.9

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._arrays = [_matrix(path) for path in paths]
        self._starts = np.cumsum([0, *(len(array) for array in self._arrays)])
        self.origin = paths[0].name if len(paths) == 1 else f"{len(paths)} arrays from {paths[0].name} on"
        for path, array in zip(paths, self._arrays, strict=True):
            if array.shape[1] != self.dimension:
                raise LayoutError(
                    f"{path.name} holds vectors of {array.shape[1]} numbers, {self.origin} {self.dimension}"
                )

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return int(self._starts[-1])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._arrays[0].shape[1])

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows, which ascend; their pages are let go again."""
        cuts = np.searchsorted(numbers, self._starts)
        found = np.empty((len(numbers), self.dimension), dtype=np.float32)
        for array, start, first, last in zip(self._arrays, self._starts, cuts, cuts[1:], strict=False):
            if first < last:
                found[first:last] = array[numbers[first:last] - start]
                _forget_pages(array)
        return found


class IndexVectors:
    """Vectors that a Faiss index gives back: exact where it stores them whole, near ones where it compresses.

    Holds 8 bytes a vector for an inverted file, to find each in its list.

    Raises:
        LayoutError: the file is no Faiss index.
    """

    least_similarity = 0.6

    def __init__(self, path: Path) -> None:
        self.origin = path.name
        self._can_find = False
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise LayoutError(f"{path} cannot be opened as a Faiss index: {_first_line(error)}") from error

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._index.d)

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows.

        Raises:
            LayoutError: the index cannot give its vectors back.
        """
        try:
            self._prepare()
            found: NDArray[np.float32] = self._index.reconstruct_batch(numbers)
        except RuntimeError as error:
            raise LayoutError(
                f"{self.origin} cannot give its vectors back ({_first_line(error)}); add the arrays of vectors to the "
                "folder, or take --vectors encoder, which embeds the passages anew"
            ) from error
        return found

    def _prepare(self) -> None:
        """An inverted file must first learn in which list each vector is."""
        inverted = None if self._can_find else faiss.try_extract_index_ivf(self._index)
        if inverted is not None:
            inverted.make_direct_map()
        self._can_find = True


def unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:  # [num_rows, dimension]
    """`vectors` at length 1; all zeros where a vector has no direction: it is zero, or not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    good = np.isfinite(lengths) & (lengths > 0)
    found = np.where(good[:, None], vectors, 0) / np.where(good, lengths, 1)[:, None]
    return found.astype(np.float32, copy=False)


def _matrix(path: Path) -> NDArray[np.floating]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LayoutError(f"{path} cannot be opened as an array: {error}") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise LayoutError(
            f"{path} holds {array.dtype}{list(array.shape)}; legal are matrices of floating-point numbers"
        )
    return array


def _forget_pages(array: NDArray[np.floating]) -> None:
    mapping = getattr(array, "_mmap", None)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0][:300]
