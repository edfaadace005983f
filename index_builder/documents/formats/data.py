"""Structured data: values between commas, semicolons or tabs, the sheets of Excel's workbooks, XML of any vocabulary,
JSON, and notebooks of Jupyter.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from index_builder.documents.compressed import plain_stem
from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.formats.office import core_fields, opened_package, own_title
from index_builder.documents.formats.text import read_markdown, read_text
from index_builder.documents.outline import Outline, is_number, one_line, walk

_TITLES = frozenset(["title", "head", "heading", "h1", "h2", "h3", "h4", "h5", "h6", "caption", "subtitle"])
_ROWS, _CELLS = frozenset(["row", "tr"]), frozenset(["entry", "td", "th", "cell"])
_NAMES = ("title", "name", "subject", "headline", "id")
_MAX_VALUES = 200_000
_MAX_DEPTH = 200
_IMAGE = "image"


def read_xml_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the text of an XML file's elements: titles as headings, rows of tables and records as rows; "": its title is
    its first heading.

    Raises:
        SkippedError: it is broken.
    """
    from lxml import etree

    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SkippedError("broken XML", name, str(error)[:300]) from error
    walk(root, _XmlElements(outline).take)
    return ""


class _XmlElements:
    """Adds the elements of an XML file, one after another."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline

    def take(self, element: Any, level: int) -> bool:
        """Add what an element holds as a whole; False when its children are to be looked at."""
        if not isinstance(element.tag, str):  # an instruction to programs
            return True
        tag = _local(element)
        children = [child for child in element if isinstance(child.tag, str)]
        if tag in _TITLES:
            self._outline.add_heading(max(1, level - 1), _text(element))
        elif tag in _ROWS and any(_local(child) in _CELLS for child in children):
            self._outline.add_paragraph("; ".join(filter(None, (_text(child) for child in children))))
        elif not children or _is_mixed(element, children):
            self._outline.add_paragraph(_text(element) or _attributes(element))
        elif len(children) > 1 and not any(len(child) for child in children) and len(_labels(children)) > 1:
            values = [_attributes(element), *(_labelled(child) for child in children)]
            self._outline.add_paragraph("; ".join(filter(None, values)))
        else:
            return False
        return True


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _labels(children: list[Any]) -> set[str]:
    return {_local(child) for child in children}


def _labelled(child: Any) -> str:
    value = _text(child) or _attributes(child)
    return f"{_local(child)}: {value}" if value else ""


def _attributes(element: Any) -> str:
    return "; ".join(f"{str(key).rpartition('}')[2]}: {value}" for key, value in element.attrib.items() if value)


def _text(element: Any) -> str:
    return one_line("".join(element.itertext()))


def _is_mixed(element: Any, children: list[Any]) -> bool:
    """Whether words stand beside the children: a paragraph with marks in it."""
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in children)


def read_json_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the values of a JSON file, each behind its keys; a list of flat objects as a table; what it calls itself.

    Raises:
        SkippedError: it is broken.
    """
    value = _loaded(content, name)
    if isinstance(value, list) and value and all(_is_flat(each) for each in value):
        keys = list(dict.fromkeys(key for each in value for key in each))
        outline.add_table([keys, *([_written(each.get(key)) for key in keys] for each in value)], has_header=True)
        return ""
    for number, (keys_above, found) in enumerate(_values(value)):
        if number >= _MAX_VALUES:
            outline.drop("values of a file over the size limit")
            break
        label = _label(keys_above)
        read_text(f"{label}: {found}" if label else found, outline)
    if not isinstance(value, dict):
        return ""
    return next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")


def read_json_lines_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a row for every object in a file of one a line, each value behind its keys; lines that are none are counted.

    Raises:
        SkippedError: the bytes are no text.
    """
    for line in decoded(content, name).split("\n"):
        try:
            values = _values(json.loads(line)) if line.strip() else ()
        except (ValueError, RecursionError):
            outline.drop("broken JSON line")
            continue
        outline.add_paragraph("; ".join(f"{_label(keys)}: {value}".removeprefix(": ") for keys, value in values))
    return ""


def _label(keys: tuple[str | int, ...]) -> str:
    return " ".join(key for key in keys if isinstance(key, str))


def _loaded(content: bytes, name: str) -> Any:
    try:
        return json.loads(decoded(content, name).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise SkippedError("broken JSON", name, str(error)[:300]) from error


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and not any(isinstance(each, dict | list) for each in value.values())


def _written(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _values(root: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every value with the keys above it, in order."""
    stack: list[tuple[tuple[str | int, ...], object]] = [((), root)]
    while stack:
        keys, value = stack.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inner is None:
            if text := _written(value):
                yield keys, text
        elif len(keys) < _MAX_DEPTH:
            stack.extend(((*keys, key), each) for key, each in reversed(list(inner)))


def read_notebook_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a notebook's text, code and what the code has printed; "": its title is its first heading.

    Raises:
        SkippedError: it is broken, or no notebook.
    """
    notebook = _loaded(content, name)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise SkippedError("broken notebook", name, "it has no cells")
    for cell in (each for each in cells if isinstance(each, dict)):
        kind, source = cell.get("cell_type"), _joined(cell.get("source"))
        if kind == "markdown":
            read_markdown(source, outline)
        elif kind == "code":
            outline.add_code(source)
            for output in cell.get("outputs") or []:
                _add_output(output, outline)
        else:
            read_text(source, outline)
    return plain_stem(name) if not outline.has_headings else ""


def _add_output(output: object, outline: Outline) -> None:
    if not isinstance(output, dict):
        return
    shown = output.get("data")
    forms = shown if isinstance(shown, dict) else {}
    if any(key.startswith("image/") for key in forms):
        outline.drop(_IMAGE)
    elif "text/html" in forms:
        read_html(_joined(forms["text/html"]), outline)
    elif "text/markdown" in forms:
        read_markdown(_joined(forms["text/markdown"]), outline)
    elif output.get("output_type") == "error":
        outline.add_paragraph(f"{output.get('ename', '')}: {output.get('evalue', '')}")
    else:
        outline.add_code(_joined(output.get("text") or forms.get("text/plain")))


def _joined(source: object) -> str:
    return "".join(str(each) for each in source) if isinstance(source, list) else str(source or "")


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
        texts = [_shown(cell.value, getattr(cell, "number_format", "")) for cell in row]
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


def _shown(value: object, number_format: str) -> str:
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
