"""Tables: values between commas, semicolons or tabs in text files, and the sheets of Excel's workbooks."""

from __future__ import annotations

import csv
import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from index_builder.documents.compressed import plain_stem
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.office import core_fields, opened_package, own_title
from index_builder.documents.outline import Outline, is_number

_SNIFFED_CHARS = 1 << 16
_DELIMITERS = ",;\t|"
_FIRST_ROWS = 50
csv.field_size_limit(1 << 24)
_MAX_CELLS = 1_000_000
_MERGED = re.compile(rb'<mergeCell ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_MAX_MERGED, _MAX_REACH = 10_000, 1000
_UNKNOWN_VALUE = re.compile(rb"</f>\s{0,9}(?:<v\s?/>|<v></v>)?\s{0,9}</c>")


def read_csv_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a table's rows, every value behind the heading of its column.

    Raises:
        SkippedError: the bytes are no text.
    """
    rows = list(csv_rows(decoded(content, name), delimiter_of(name)))
    outline.add_table(rows, has_header=_begins_with_header(rows))
    return ""


def _begins_with_header(rows: list[list[str]]) -> bool | None:
    """Whether the first row names the columns; None of a title of its own above them, which is looked for."""
    widths = [sum(bool(cell.strip()) for cell in row) for row in rows[:_FIRST_ROWS]]
    if widths and widths[0] < 2 <= max(widths):
        return None
    return bool(rows) and not any(is_number(cell) for cell in rows[0])


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


def read_xlsx_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a workbook's sheets as sections of rows; its title.

    Raises:
        SkippedError: it is encrypted or broken.
    """
    import openpyxl

    with opened_package(content, name, "Excel"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and charts, which are not read
        archive = zipfile.ZipFile(io.BytesIO(content))
        outline.drop("formula without a stored value", _num_unknown(archive))
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        core_fields(book.properties, outline)
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                outline.drop("hidden sheet")
                continue
            outline.add_heading(2, sheet.title)
            outline.add_table(_sheet_rows(sheet, outline, _merged_down(archive, sheet)))
        return own_title(book.properties.title) or plain_stem(name)
    raise AssertionError("unreachable")


def _sheet_rows(sheet: Any, outline: Outline, merged: dict[tuple[int, int], int]) -> Iterator[list[str]]:
    """The rows that hold anything; a cell that reaches down holds its text in each."""
    num_cells = 0
    above: dict[int, str] = {}  # by its column, the text of the last cell that began a merged area
    for number, row in enumerate(sheet.iter_rows(), start=1):
        num_cells += len(row)
        if num_cells > _MAX_CELLS:
            outline.drop("rows of a sheet over the size limit")
            return
        if not any(cell.value is not None for cell in row):
            continue
        texts = [_written(cell.value, getattr(cell, "number_format", "")) for cell in row]
        for place, text in enumerate(texts, start=1):
            if merged.get((number, place)) == number:
                above[place] = text
            elif (number, place) in merged:
                texts[place - 1] = above.get(place, "")
        yield texts


def _merged_down(archive: zipfile.ZipFile, sheet: Any) -> dict[tuple[int, int], int]:
    """The cells of merged areas of several rows, in their first column: (row, column) → first row."""
    from openpyxl.utils.cell import range_boundaries

    found: dict[tuple[int, int], int] = {}
    try:
        xml = archive.read(str(getattr(sheet, "_worksheet_path", "")).lstrip("/"))
    except KeyError:
        return found
    for reference in _MERGED.findall(xml)[:_MAX_MERGED]:
        left, top, _, bottom = range_boundaries(reference.decode())
        for number in range(top, min(bottom, top + _MAX_REACH) + 1) if bottom > top else ():
            found[number, left] = top
    return found


def _num_unknown(archive: zipfile.ZipFile) -> int:
    """Formulas whose values no program has stored: what makes workbooks without computing them leaves them out."""
    sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/") and name.endswith(".xml")]
    return sum(len(_UNKNOWN_VALUE.findall(archive.read(name))) for name in sheets)


def _written(value: object, number_format: str) -> str:
    """A cell as it reads."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool) and "%" in (number_format or ""):
        return f"{100 * value:.10g}%"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
