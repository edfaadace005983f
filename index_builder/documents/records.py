"""Tables of documents, a row each: Parquet, JSON lines, CSV; and which of their columns hold what."""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from index_builder.documents.compressed import COMPRESSED, note_damage, whole_content
from index_builder.documents.document import Document, ReadReport, SkippedError, note_skipped
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.data import csv_rows, delimiter_of
from index_builder.documents.formats.text import read_text
from index_builder.documents.outline import MAX_FIELD_CHARS, MAX_FIELD_VALUES, Outline, one_line
from index_builder.documents.wiki import mediawiki

BATCH_ROWS = 256
MAX_LINE_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 20
_LINES_LOOKED_AT = 100
_MAX_CSV_BYTES = 256 << 20


class ColumnError(ValueError):
    """A table without a column that was asked for; the sentence names those there are."""


@dataclass(frozen=True)
class Columns:
    """Column names as a user gave them; None means the usual name, and for all but the text, if it is there.

    Raises:
        ColumnError: from `found_in`, see there.
    """

    text: str | None = None
    title: str | None = None
    id: str | None = None
    url: str | None = None

    def found_in(self, table: str, names: Collection[str]) -> dict[str, str]:
        """What each column of `table` is for → its name, out of `names`: always "text", the others if they are there.

        Raises:
            ColumnError: a column that was named, or the one of the text, is not among `names`.
        """
        found = {}
        for usual in ("text", "title", "id", "url"):
            named = getattr(self, usual)
            name = named or usual
            if name in names:
                found[usual] = name
            elif named or usual == "text":
                there = ", ".join(repr(each) for each in sorted(names)) or "none"
                raise ColumnError(f"{table} has no column {name!r} (--{usual}-column); its columns are {there}")
        return found


USUAL_COLUMNS = Columns()


@dataclass(frozen=True)
class RawRecord:
    """One row of a table: a line of JSON still to be read, or the values of the columns that matter."""

    name: str  # the table's name and the row's number, from 1
    columns: dict[str, str]  # what for → name
    content: bytes | dict[str, object]

    @property
    def is_page(self) -> bool:
        """Whether the row is an article of one of Wikimedia's HTML dumps."""
        return isinstance(self.content, bytes) and mediawiki.MARK in self.content and "text" in self.columns


def parse_record(record: RawRecord) -> Document:
    """The row's document; its id is the id column's value, or else the table's name and the row's number.

    Raises:
        SkippedError: broken JSON, no text, or text that is no string.
    """
    row = _row(record)
    text = row.get(record.columns["text"])
    if text is None and record.is_page:
        return mediawiki.article(row, record.name)
    if text is None:
        raise SkippedError("no text", record.name, f"{record.columns['text']!r} is null or absent")
    if isinstance(text, bytes):
        text = decoded(text, record.name)
    if isinstance(text, list) and all(isinstance(each, str) for each in text):
        text = "\n\n".join(text)
    if not isinstance(text, str):
        detail = f"{record.columns['text']!r} is of type {type(text).__name__}"
        raise SkippedError("text that is no string", record.name, detail)
    outline = Outline()
    read_text(text, outline)
    _add_fields(row, record.columns, outline)
    title, identity, url = (label(row, record.columns.get(purpose)) for purpose in ("title", "id", "url"))
    return outline.document(identity or record.name, title, url)


def parquet_records(path: Path, name: str, columns: Columns, report: ReadReport) -> Iterator[RawRecord]:
    """The rows of a Parquet file, some hundred in memory at a time; damage ends it and is counted."""
    read = 0
    size = path.stat().st_size
    number = 0
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table:
            found = columns.found_in(name, table.schema_arrow.names)
            num_rows = table.metadata.num_rows
            wanted = {*found.values(), *_field_columns(table.schema_arrow)}
            for batch in table.iter_batches(BATCH_ROWS, columns=sorted(wanted)):
                for row in plain_columns(batch):
                    number += 1
                    yield RawRecord(f"{name}:{number}", found, row)
                share = size * number // max(1, num_rows)
                report.source_bytes += share - read
                read = share
    except (pa.ArrowException, OSError) as error:
        note_damage(path, report, f"after row {number}: {_first_line(error)}")
    report.source_bytes += size - read


def csv_records(path: Path, name: str, columns: Columns, report: ReadReport) -> Iterator[RawRecord]:
    """The rows of a table in a text file."""
    report.source_bytes += path.stat().st_size
    try:
        rows = csv_rows(_csv_text(path, name, max_bytes=_MAX_CSV_BYTES), delimiter_of(_plain_name(name)))
        names = next(rows, [])
        found = columns.found_in(name, names)
    except SkippedError as skipped:
        note_skipped(report, skipped)
        return
    for number, row in enumerate(rows, start=1):
        if any(row):
            yield RawRecord(f"{name}:{number}", found, dict(zip(names, row, strict=False)))


def is_table_of_texts(path: Path, name: str, columns: Columns) -> bool:
    """Whether a table in a text file has a column of texts, a document each; else it is one document of rows.

    Raises:
        ColumnError: the column of texts was named, and is not there.
    """
    try:
        names = next(csv_rows(_csv_text(path, name, max_bytes=_MAX_CSV_BYTES), delimiter_of(_plain_name(name))), [])
    except (SkippedError, OSError):
        return False
    if columns.text:
        columns.found_in(name, names)
    return (columns.text or "text") in names


def json_records(content: Iterator[bytes], name: str, columns: Columns, report: ReadReport) -> Iterator[RawRecord]:
    """The lines of a file of JSON objects, still to be read."""
    found = {purpose: getattr(columns, purpose) or purpose for purpose in ("text", "title", "id", "url")}
    for number, line in enumerate(_lines(content, report), start=1):
        if line is None:
            note_skipped(
                report, SkippedError("line over the size limit", f"{name}:{number}", f"{MAX_LINE_BYTES} bytes")
            )
        elif line.strip():
            yield RawRecord(f"{name}:{number}", found, line)


def check_parquet(path: Path, name: str, columns: Columns) -> None:
    """Refuse a Parquet file that lacks a column; a damaged one is left for reading to count.

    Raises:
        ColumnError: a column is missing, or the text's holds no text.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return
    text = columns.found_in(name, schema.names)["text"]
    kind = schema.field(text).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (_is_text(kind) or pa.types.is_null(kind)):
        raise ColumnError(f"{name}: column {text!r} holds {kind}, not text; name another with --text-column")


def check_json(content: Iterator[bytes], name: str, columns: Columns) -> None:
    """Refuse a file none of whose first objects has a column that is needed.

    Raises:
        ColumnError: a column is missing.
    """
    keys = _keys(content)
    if keys and (columns.text or not keys.keys() >= mediawiki.KEYS):
        columns.found_in(name, list(keys))


def has_texts(content: Iterator[bytes]) -> bool:
    """Whether the first objects of a file have a column of texts, are articles of a wiki, or cannot be read."""
    keys = _keys(content)
    return not keys or "text" in keys or keys.keys() >= mediawiki.KEYS


def _keys(content: Iterator[bytes]) -> dict[str, None]:
    keys: dict[str, None] = {}
    for line in islice(_lines(content, ReadReport()), _LINES_LOOKED_AT):
        try:
            row = json.loads(line or b"null")
        except ValueError:
            continue
        if isinstance(row, dict):
            keys |= dict.fromkeys(row)
    return keys


def _row(record: RawRecord) -> dict[str, object]:
    if isinstance(record.content, dict):
        return record.content
    try:
        row = json.loads(decoded(record.content, record.name))
    except (ValueError, RecursionError) as error:
        raise SkippedError("broken JSON line", record.name, str(error)) from error
    if not isinstance(row, dict):
        raise SkippedError("broken JSON line", record.name, f"it is of type {type(row).__name__}, not an object")
    return row


def label(row: dict[str, object], column: str | None) -> str:
    """The value of a column as one line to show; "" where there is none."""
    value = row.get(column) if column else None
    if isinstance(value, bytes):
        return one_line(value.decode(errors="replace"))
    return one_line(str(value)) if isinstance(value, str | int | float) else ""


def plain_columns(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    """The batch's rows by column, texts as the bytes they are: what is no UTF-8 costs its own row only."""
    values = {name: _plain(column).to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for number in range(batch.num_rows):
        yield {name: column[number] for name, column in values.items()}


def _plain(column: pa.Array) -> pa.Array:
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return column.cast(pa.large_binary()) if _is_text(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )  # fmt: skip


def _add_fields(row: dict[str, object], columns: dict[str, str], outline: Outline) -> None:
    """Every column that has no purpose of its own, and whose value is short."""
    for column, value in row.items():
        if column in columns.values():
            continue
        listed = value if isinstance(value, list | tuple) else [value]
        written = [_written(each) for each in listed[:MAX_FIELD_VALUES]]
        outline.add_field(column, [each for each in written if each and len(each) <= MAX_FIELD_CHARS])


def _written(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float | datetime.date) else ""


def _field_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold something short: no vectors, no structures."""
    return [field.name for field in schema if _is_field(field.type)]


def _is_field(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_field(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_text(kind.value_type)
    return bool(
        _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    )  # fmt: skip


def _csv_text(path: Path, name: str, max_bytes: int) -> str:
    if path.stat().st_size > max_bytes:
        raise SkippedError("file over the size limit", name, f"at most {max_bytes} bytes are read")
    return decoded(whole_content(path.read_bytes(), name, max_bytes), name)


def _plain_name(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in COMPRESSED else name


def _lines(content: Iterator[bytes], report: ReadReport) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long to be held."""
    pieces: list[bytes] = []
    held = 0
    for block in content:
        report.markup_bytes += len(block)
        first, *rest = block.split(b"\n")
        for piece in (first, *rest[:-1]) if rest else ():
            yield b"".join([*pieces, piece]) if held + len(piece) <= MAX_LINE_BYTES else None
            pieces, held = [], 0
        last = rest[-1] if rest else first
        held += len(last)
        pieces = [*pieces, last] if held <= MAX_LINE_BYTES else []
    if held:
        yield b"".join(pieces) if held <= MAX_LINE_BYTES else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
