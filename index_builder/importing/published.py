"""The layout of the published wikipedia-3sentence-level-retrieval-index, and what of it a folder holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from index_builder.documents import ReadReport
from index_builder.documents.document import SkippedError, note_skipped
from index_builder.documents.encodings import decoded
from index_builder.documents.outline import one_line
from index_builder.documents.records import ColumnError, Columns, label, plain_columns
from index_builder.passages.passage_shards import UniqueIds
from server.retrieval.index.vector_index import INDEX_FILE

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
