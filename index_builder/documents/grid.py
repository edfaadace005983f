"""Tables as sentences: a row a text, every value behind the heading of its column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_NUMBER = re.compile(r"^[^\w]*\d[\d.,\s%€$£¥/:-]*\w{0,3}$")
_DIGIT = re.compile(r"\d")
_MAX_HEADING_CHARS = 80
_MAX_ROW_CHARS = 900  # a longer row is cut into several texts, each with the headings of its values
_FIRST_ROWS = 10  # among which a table's headings are looked for, below its title
_LOOKED_AT = 20

Row = Sequence[str]


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
    if any(len(name) > _MAX_HEADING_CHARS or _NUMBER.match(name) for name in names):
        return False
    second = [each[1] for each in below if len(each) > 1 and each[1]]
    return width > 2 or (
        not any(_DIGIT.search(name) for name in names)
        and sum(bool(_DIGIT.search(value)) for value in second) > len(second) / 2
    )


def _pair(row: Row) -> Row:
    """A row of a name and its value as one text."""
    cells = [cell for cell in row if cell]
    if len(cells) == 2 and len(cells[0]) <= _MAX_HEADING_CHARS and not _NUMBER.match(cells[0]):
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
