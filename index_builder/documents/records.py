"""Tables whose rows are documents: Parquet and JSON lines, read as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from index_builder.documents.columns import ColumnError, Columns
from index_builder.documents.compressed import blocks, note_damage
from index_builder.documents.document import Document, ReadReport, SkippedError, note_skipped
from index_builder.documents.formats.plain_text import decoded, read_text
from index_builder.documents.outline import Outline, one_line

BATCH_ROWS = 256
MAX_LINE_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 20
_LINES_LOOKED_AT = 100


@dataclass(frozen=True)
class RawRecord:
    """One row of a table: a line of JSON still to be read, or the values of the columns that matter."""

    name: str  # the table's name and the row's number, from 1
    columns: dict[str, str]  # what for → name
    content: bytes | dict[str, object]


def parse_record(record: RawRecord) -> Document:
    """The row's document; its id is the id column's value, or else the table's name and the row's number.

    Raises:
        SkippedError: broken JSON, no text, or text that is no string.
    """
    row = _row(record)
    text = row.get(record.columns["text"])
    if text is None:
        raise SkippedError("no text", record.name, f"{record.columns['text']!r} is null or absent")
    if isinstance(text, bytes):
        text = decoded(text, record.name)
    if not isinstance(text, str):
        detail = f"{record.columns['text']!r} is of type {type(text).__name__}"
        raise SkippedError("text that is no string", record.name, detail)
    outline = Outline()
    read_text(text, outline)
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
            for batch in table.iter_batches(BATCH_ROWS, columns=sorted(set(found.values()))):
                for row in plain_columns(batch):
                    number += 1
                    yield RawRecord(f"{name}:{number}", found, row)
                share = size * number // max(1, num_rows)
                report.source_bytes += share - read
                read = share
    except (pa.ArrowException, OSError) as error:
        note_damage(path, report, f"after row {number}: {_first_line(error)}")
    report.source_bytes += size - read


def json_records(path: Path, name: str, columns: Columns, report: ReadReport) -> Iterator[RawRecord]:
    """The lines of a file of JSON objects, plain or compressed, still to be read."""
    found = {purpose: getattr(columns, purpose) or purpose for purpose in ("text", "title", "id", "url")}
    for number, line in enumerate(_lines(path, report), start=1):
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


def check_json(path: Path, name: str, columns: Columns) -> None:
    """Refuse a file none of whose first objects has a column that is needed.

    Raises:
        ColumnError: a column is missing.
    """
    keys: dict[str, None] = {}
    for line in islice(_lines(path, ReadReport()), _LINES_LOOKED_AT):
        try:
            row = json.loads(line or b"null")
        except ValueError:
            continue
        if isinstance(row, dict):
            keys |= dict.fromkeys(row)
    if keys:
        columns.found_in(name, list(keys))


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


def _lines(path: Path, report: ReadReport) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long to be held."""
    pieces: list[bytes] = []
    held = 0
    for block in blocks(path, report):
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
