"""Tables of wiki markup as rows of text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from index_builder.documents.grid import Cell, row_texts, span, spread

_NO_PROSE = re.compile(
    r"class\s*=\s*[\"']?[^\"'\n]*\b(?:infobox|navbox|sidebar|metadata|ambox|mbox|vertical-navbox|toc|navigation)\b",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(row|col)span\s*=\s*(\"?'?\d{1,5})", re.IGNORECASE)
_ATTRIBUTES = re.compile(
    r"^\s*(?:[\w-]{1,30}\s*=\s*(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|[^\s|\"']{1,200})\s*|nowrap\s*)+$"
)
_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")


def table_text(inner: str) -> tuple[str, str]:
    """A table, whose cells' markup is plain text already, as lines of a row each; and how it is counted when it is no
    part of the text, else "".
    """
    attributes, _, body = inner.partition("\n")
    if _NO_PROSE.search(attributes):
        return "", "infobox or navigation box"
    caption, rows = _written(body)
    found, has_header = spread(rows)
    lines = [*([caption] if caption else []), *row_texts(found, has_header)]
    return "\n" + "".join(f"{line}\n" for line in lines), ""


def _written(body: str) -> tuple[str, list[list[Cell]]]:
    """The caption, and the rows with their cells as they are written."""
    caption = ""
    rows: list[list[Cell]] = [[]]
    kind, waiting = "", ""  # what begins the cell that is open, and its text so far

    def close() -> None:
        nonlocal caption, waiting
        if kind == "+":
            caption = _plain(_content(waiting)[0])
        elif kind:
            rows[-1].extend(_cells(waiting, kind))
        waiting = ""

    for line in body.split("\n"):
        begins = line.lstrip()
        if begins.startswith(("|-", "|+", "|", "!")):
            close()
            if begins.startswith("|-"):
                rows.append([])
                kind = ""
            else:
                kind = "+" if begins.startswith("|+") else begins[0]
                waiting = begins[2 if kind == "+" else 1 :]
        elif kind:
            waiting = f"{waiting}\n{line}"
    close()
    return caption, [row for row in rows if row]


def _cells(text: str, kind: str) -> Iterator[Cell]:
    """The cells of one line, which || (and !! between headings) part."""
    for written in re.split(r"\|\||!!" if kind == "!" else r"\|\|", text):
        content, attributes = _content(written)
        spans = {name.lower(): span(value) for name, value in _SPAN.findall(attributes)}
        yield Cell(_plain(content), kind == "!", spans.get("row", 1), across=spans.get("col", 1))


def _content(written: str) -> tuple[str, str]:
    """A cell's text, and the attributes that stand before it."""
    before, bar, after = written.partition("|")
    return (after, before) if bar and (_ATTRIBUTES.match(before) or not before.strip()) else (written, "")


def _plain(text: str) -> str:
    return _SPACE.sub(" ", _TAG.sub(" ", text)).strip(" *#:;|")
