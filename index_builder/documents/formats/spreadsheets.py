"""Tables in text files: values between commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from index_builder.documents.encodings import decoded
from index_builder.documents.outline import Outline, is_number

_SNIFFED_CHARS = 1 << 16
_DELIMITERS = ",;\t|"
csv.field_size_limit(1 << 24)


def read_csv_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a table's rows, every value behind the heading of its column.

    Raises:
        SkippedError: the bytes are no text.
    """
    rows = list(csv_rows(decoded(content, name), delimiter_of(name)))
    outline.add_table(rows, has_header=bool(rows) and not any(is_number(cell) for cell in rows[0]))
    return ""


def delimiter_of(name: str) -> str:
    """What a file's name says of its delimiter; "" when it says nothing."""
    return "\t" if name.lower().endswith((".tsv", ".tab")) else ""


def csv_rows(text: str, delimiter: str = "") -> Iterator[list[str]]:
    """The rows of a table; its delimiter is the one that cuts its first lines most evenly."""
    delimiter = delimiter or _delimiter(text[:_SNIFFED_CHARS])
    if text[:4].lower() == "sep=":
        text = text.partition("\n")[2]
    reader = csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue
        yield row


def _delimiter(head: str) -> str:
    lines = [line for line in head.splitlines()[:50] if line.strip()]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) == 5:
        return lines[0][4]

    def evenness(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        usual = max(set(widths), key=widths.count) if widths else 1
        return (widths.count(usual) / max(1, len(widths)) if usual > 1 else 0.0), usual

    try:
        return max(_DELIMITERS, key=evenness)
    except csv.Error:
        return ","
