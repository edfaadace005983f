"""What readers add headings, paragraphs, tables and code to; and tables as sentences: a row a text, every value behind
the heading of its column.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from index_builder.documents.document import Document, Section, SkippedError

_NUMBER = re.compile(r"^[^\w]*\d[\d.,\s%€$£¥/:-]*\w{0,3}$")
_DIGIT = re.compile(r"\d")
_MAX_COLUMN_CHARS = 80
_MAX_ROW_CHARS = 900  # a longer row is cut into several texts, each with the headings of its values
_FIRST_ROWS = 10  # among which a table's headings are looked for, below its title
_LOOKED_AT = 20

Row = Sequence[str]
MAX_SPAN = 200
_MAX_CELLS = 500
MAX_HEADING_CHARS = 300
MAX_FIELD_CHARS = 300
MAX_FIELD_VALUES = 100
_CODE_CHARS = 300  # lines of code are read together up to so many characters: a line alone says too little
# Control characters, and the halves of surrogate pairs, which no file of text may hold.
# And marks that nobody sees: soft hyphens, word joiners, directions of writing.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f\u00ad\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff]"
)
_RAISED = re.compile(r"\s*[+\-−–]?\d{1,20}\s*")
_SUPERSCRIPTS = str.maketrans("0123456789+-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻")
_SPACE = re.compile(r"[\s\u200b]+")
_WORD = re.compile(r"\w")
_PERMALINK = re.compile(r"(?:\s*[¶🔗]|\s+#)$")


@dataclass(frozen=True)
class Cell:
    """A cell as it is written; it may reach down and across."""

    text: str
    is_heading: bool = False
    down: int = 1
    across: int = 1


def span(written: str) -> int:
    """How many rows or columns a cell says it covers."""
    value = written.strip().strip("\"'")
    return min(max(1, int(value)), MAX_SPAN) if value.isascii() and value.isdigit() and len(value) < 6 else 1


def spread(written: Iterable[Sequence[Cell]]) -> tuple[list[list[str]], bool | None]:
    """The rows of a table, spans filled in, and whether the first holds the columns' headings (None: it does not say).

    Rows of headings become one; a row that begins with its own heading has it before its first value.
    """
    rows: list[list[str]] = []
    num_headers = 0
    any_heading = False
    spans: dict[int, tuple[int, str]] = {}  # column → rows still to fill, and with what
    for cells in written:
        headings = [cell.is_heading for cell in cells]
        any_heading = any_heading or any(headings)
        if cells and all(headings) and len(cells) > 1 and num_headers == len(rows):
            num_headers += 1
        rows.append(_filled(cells, spans))
        if headings[:1] == [True] and headings.count(True) == 1 and len(cells) > 1 and not num_headers:
            rows[-1][:2] = [": ".join(part.rstrip(":") for part in rows[-1][:2] if part)]
    if num_headers and num_headers < len(rows):
        return [_merged(rows[:num_headers]), *rows[num_headers:]], True
    return rows, False if any_heading else None


def _filled(cells: Sequence[Cell], spans: dict[int, tuple[int, str]]) -> list[str]:
    """A row's values, with those that reach down from earlier rows."""
    row: list[str] = []
    for cell in cells:
        _reach_down(row, spans)
        for number in range(cell.across):
            if len(row) >= _MAX_CELLS:
                return row
            if cell.down > 1:
                spans[len(row)] = (cell.down - 1, cell.text)
            row.append(cell.text if number == 0 or cell.is_heading else "")
    _reach_down(row, spans)
    return row


def _reach_down(row: list[str], spans: dict[int, tuple[int, str]]) -> None:
    while (left := spans.get(len(row))) is not None and len(row) < _MAX_CELLS:
        if left[0] > 1:
            spans[len(row)] = (left[0] - 1, left[1])
        else:
            del spans[len(row)]
        row.append(left[1])


def _merged(headers: list[list[str]]) -> list[str]:
    """Several rows of headings as one, from top to bottom."""
    width = max(len(row) for row in headers)
    columns = [[row[number] for row in headers if number < len(row) and row[number]] for number in range(width)]
    return [" ".join(dict.fromkeys(column)) for column in columns]


def row_texts(rows: Sequence[Row], has_header: bool | None = None) -> Iterator[str]:
    """The texts of a table's rows, whose cells are of one line each; rows may be of different lengths.

    Args:
        has_header: whether the first row holds the columns' headings; None: told by what it holds.
    """
    filled = [row for row in rows if any(row)]
    header = _header_row(filled) if has_header is None else 0 if has_header and len(filled) > 1 else None
    for row in filled if header is None else filled[:header]:
        yield from _row(_pair(row), ())
    if header is not None:
        for row in filled[header + 1 :]:
            yield from _row(row, filled[header])


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, a date, an amount: no heading of a column."""
    return bool(_NUMBER.match(cell))


def _header_row(rows: Sequence[Row]) -> int | None:
    """The row that names the columns, which only titles stand above; None when no row does."""
    for number, row in enumerate(rows[:_FIRST_ROWS]):
        if len([cell for cell in row if cell]) >= 2:
            return number if _is_header(row, rows[number + 1 : number + 1 + _LOOKED_AT]) else None
    return None


def _is_header(row: Row, below: Sequence[Row]) -> bool:
    """Whether a row names columns: short, different texts, no numbers, one a column of the rows below. Of two columns
    only when numbers stand below: else each row is a name and its value.
    """
    names = [cell for cell in row if cell]
    width = max((len([cell for cell in each if cell]) for each in below), default=0)
    if not below or len(names) < width - 1 or len(set(names)) < len(names):
        return False
    if any(len(name) > _MAX_COLUMN_CHARS or _NUMBER.match(name) for name in names):
        return False
    second = [each[1] for each in below if len(each) > 1 and each[1]]
    return width > 2 or (
        not any(_DIGIT.search(name) for name in names)
        and sum(bool(_DIGIT.search(value)) for value in second) > len(second) / 2
    )


def _pair(row: Row) -> Row:
    """A row of a name and its value as one text."""
    cells = [cell for cell in row if cell]
    if len(cells) == 2 and len(cells[0]) <= _MAX_COLUMN_CHARS and not _NUMBER.match(cells[0]):
        return [f"{cells[0].rstrip(':')}: {cells[1]}"]
    return cells


def _row(row: Row, headings: Row) -> Iterator[str]:
    text = ""
    for number, value in enumerate(row):
        if not value:
            continue
        heading = headings[number].rstrip(":") if number < len(headings) else ""
        part = f"{heading}: {value}" if heading and heading != value else value
        if text and len(text) + len(part) > _MAX_ROW_CHARS:
            yield text
            text = ""
        text = f"{text}; {part}" if text else part
    if text:
        yield text


def one_line(text: str) -> str:
    """`text` without line breaks, doubled spaces and unprintable characters."""
    return _SPACE.sub(" ", _UNPRINTABLE.sub("", text)).strip()


def raised(text: str) -> str:
    """What stands above the line: a number in raised digits, so that it does not become part of the one before it."""
    return text.strip().translate(_SUPERSCRIPTS) if _RAISED.fullmatch(text) else text


def walk(root: Any, take: Callable[[Any, int], bool], is_deeper: Callable[[Any], bool] = lambda _: True) -> None:
    """Go over a tree in the order of its text, without recursion.

    Args:
        take: adds what a node, at a level from 1 on, holds as a whole; False when its children are to be looked at.
        is_deeper: whether the children of a node are a level below it.
    """
    waiting = [(root, 1)]
    while waiting:
        node, level = waiting.pop()
        if not take(node, level):
            below = level + is_deeper(node)
            waiting.extend((child, below) for child in reversed(node))


class Outline:
    """Collects what a reader of some format meets; the first heading of level 1 names the document."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []  # level and text of the headings that are open
        self._parts: list[tuple[tuple[str, ...], list[str]]] = [((), [])]  # path of headings, paragraphs under it
        self._main_heading = ""
        self._first_heading = ""
        self._left_out: list[SkippedError] = []
        self._dropped: Counter[str] = Counter()
        self._fields: dict[str, tuple[str, ...]] = {}

    def add_heading(self, level: int, text: str) -> None:
        """Begin the section of a heading; an empty one begins none."""
        heading = _PERMALINK.sub("", one_line(text))[:MAX_HEADING_CHARS]
        if not _WORD.search(heading):
            return
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, heading))
        self._parts.append((tuple(name for _, name in self._path), []))
        self._first_heading = self._first_heading or heading
        if level == 1:
            self._main_heading = self._main_heading or heading

    def add_paragraph(self, text: str) -> None:
        """Add a paragraph or list item, if it holds words."""
        paragraph = one_line(text)
        if _WORD.search(paragraph):
            self._parts[-1][1].append(paragraph)

    def add_table(self, rows: Iterable[Sequence[str]], has_header: bool | None = None) -> None:
        """Add a table, a paragraph a row, every value behind the heading of its column.

        Args:
            has_header: whether the first row holds the columns' headings; None: told by what it holds.
        """
        for text in row_texts([[one_line(cell) for cell in row] for row in rows], has_header):
            self.add_paragraph(text)

    def add_code(self, text: str) -> None:
        """Add a block of code, some lines a paragraph; a blank line ends one."""
        waiting = ""
        for line in (one_line(each) for each in text.split("\n")):
            if waiting and (not line or len(waiting) + len(line) > _CODE_CHARS):
                self.add_paragraph(waiting)
                waiting = ""
            waiting = f"{waiting} {line}".strip()
        self.add_paragraph(waiting)

    def remove_sections(self, is_unwanted: Callable[[str], bool]) -> int:
        """Take away the sections one of whose headings is unwanted; how many held text."""
        kept = [part for part in self._parts if not any(is_unwanted(name) for name in part[0])]
        num_removed = sum(bool(part[1]) for part in self._parts) - sum(bool(part[1]) for part in kept)
        self._parts = kept
        return num_removed

    def absorb(self, inner: Outline, heading: str = "") -> None:
        """Add what another outline has collected, all of it under a heading: a file within a file, a chapter of a book.

        What names the other document, and is known of it, stays behind; a heading is not needed where it has its own.
        """
        above = (one_line(heading)[:MAX_HEADING_CHARS],) if _WORD.search(heading) else ()
        self._parts.extend(((*above, *path), paragraphs) for path, paragraphs in inner._parts)
        self._parts.append(((), []))
        self._path = []
        self._left_out.extend(inner._left_out)
        self._dropped.update(inner._dropped)

    @property
    def has_headings(self) -> bool:
        """Whether any heading was added."""
        return bool(self._first_heading)

    def leave_out(self, part: SkippedError) -> None:
        """Note a part that could not be read."""
        self._left_out.append(part)

    def drop(self, kind: str, count: int = 1) -> None:
        """Count parts that hold no text: images, navigation..."""
        if count:
            self._dropped[kind] += count

    def add_field(self, name: str, values: str | Iterable[str]) -> None:
        """Note what is known of the document beside its text; empty values are none."""
        found = [one_line(value)[:MAX_FIELD_CHARS] for value in ([values] if isinstance(values, str) else values)]
        key = one_line(name).lower()[:MAX_FIELD_CHARS]
        if key and any(found):
            kept = (*self._fields.get(key, ()), *(value for value in found if value))
            self._fields[key] = tuple(dict.fromkeys(kept))[:MAX_FIELD_VALUES]

    def document(self, name: str, title: str, url: str, otherwise: str = "") -> Document:
        """The document `name`; its title is the main heading, else `title`, the first heading, `otherwise`.

        Raises:
            SkippedError: there are no paragraphs.
        """
        found = self._main_heading or one_line(title)[:MAX_HEADING_CHARS] or self._first_heading or otherwise
        sections = tuple(
            Section(" > ".join(path[path[:1] == (found,) :]), tuple(paragraphs))
            for path, paragraphs in self._parts
            if paragraphs
        )
        if not sections:
            raise next(iter(self._left_out), SkippedError("no prose", name, "no paragraph in it holds a word"))
        return Document(
            name,
            found,
            url,
            sections=sections,
            left_out=tuple(self._left_out),
            dropped=dict(self._dropped),
            fields=dict(self._fields),
        )
