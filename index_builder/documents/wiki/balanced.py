"""Markup that nests, removed or unfolded in one pass: templates, tables, links, and elements without prose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from index_builder.documents.outline import Cell, row_texts, span, spread
from index_builder.documents.wiki.site import Site, link_text
from index_builder.documents.wiki.templates import template_text

# Elements whose content is no prose, and how each is counted.
_DROPPED = {
    **dict.fromkeys(("ref", "references"), "reference"),
    **dict.fromkeys(("gallery", "imagemap", "graph", "mapframe", "maplink", "timeline", "hiero", "score"), "image"),
    **dict.fromkeys(("templatedata", "style", "inputbox", "categorytree", "indicator", "includeonly"), ""),
}
_OPEN_ELEMENT = re.compile(
    rf"<({'|'.join(sorted(_DROPPED, key=len, reverse=True))})\b[^<>]{{0,1000}}?(/?)>", re.IGNORECASE
)
_CLOSE_ELEMENT = {name: re.compile(rf"</{name}\s{{0,9}}>", re.IGNORECASE) for name in _DROPPED}
_TOKEN = re.compile(r"\{\{|\}\}|^[ \t:]*\{\||^[ \t]*\|\}|\[\[|\]\]", re.MULTILINE)
_CLOSES = {"}}": "{{", "|}": "{|", "]]": "[["}
_NO_PROSE = re.compile(
    r"class\s*=\s*[\"']?[^\"'\n]*\b(?:infobox|navbox|sidebar|metadata|ambox|mbox|vertical-navbox|toc|navigation)\b",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(row|col)span\s*=\s*(\"?'?\d{1,5})", re.IGNORECASE)
_ATTRIBUTES = re.compile(
    r"^\s*(?:[\w-]{1,30}\s*=\s*(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|[^\s|\"']{1,200})\s*|nowrap\s*)+$"
)
_SPACE = re.compile(r"\s+")
_ITEM = re.compile(r"\s*\n[*#:;]+\s*")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")


def drop_elements(text: str, dropped: Counter[str]) -> str:
    """`text` without references, galleries and other elements that hold no prose, which are counted by kind.

    An element that never closes loses its tag only: the text after it stays.
    """
    pieces: list[str] = []
    unclosed: set[str] = set()  # names not closed anywhere ahead, so that no search is made twice
    position = 0
    while match := _OPEN_ELEMENT.search(text, position):
        pieces.append(text[position : match.start()])
        position = match.end()
        name = match.group(1).lower()
        if match.group(2) or name in unclosed:
            continue
        close = _CLOSE_ELEMENT[name].search(text, position)
        if close is None:
            unclosed.add(name)
            continue
        position = close.end()
        if _DROPPED[name]:
            dropped[_DROPPED[name]] += 1
    pieces.append(text[position:])
    return "".join(pieces)


class Unfolder:
    """Replaces templates by the prose they carry, links by what a reader sees, tables by their rows.

    Nesting may be of any depth and need not be balanced: what never closes keeps its text.
    """

    def __init__(self, site: Site, dropped: Counter[str]) -> None:
        self._site = site
        self._dropped = dropped

    def unfold(self, text: str) -> str:
        """`text` without nesting markup."""
        stack: list[tuple[str, list[str]]] = []  # (opening token, pieces inside it)
        pieces: list[str] = []
        position = 0
        for match in _TOKEN.finditer(text):
            pieces.append(text[position : match.start()])
            position = match.end()
            token = match.group().strip(" \t:")
            if token not in _CLOSES:
                stack.append((token, pieces))
                pieces = []
            elif stack and stack[-1][0] == _CLOSES[token]:
                inner = "".join(pieces)
                pieces = stack.pop()[1]
                pieces.append(self._unfolded(token, inner))
            elif any(opening == _CLOSES[token] for opening, _ in stack[-8:]):
                pieces = self._close_through(_CLOSES[token], stack, pieces)
        pieces.append(text[position:])
        unclosed = [piece for _, outer in stack for piece in outer]
        return "".join(unclosed + pieces)

    def _close_through(self, opening: str, stack: list[tuple[str, list[str]]], pieces: list[str]) -> list[str]:
        """Close `opening` although something inside it never closed: the unclosed part stays as text within it."""
        while True:
            token, outer = stack.pop()
            inner = "".join(pieces)
            pieces = outer
            if token == opening:
                close = next(close for close, start in _CLOSES.items() if start == opening)
                pieces.append(self._unfolded(close, inner))
                return pieces
            pieces.append(inner)

    def _unfolded(self, close: str, inner: str) -> str:
        if close == "}}":
            text, kind = template_text(inner)
        elif close == "|}":
            text, kind = table_text(inner)
        else:
            text, kind = link_text(inner, self._site)
        if kind:
            self._dropped[kind] += 1
        return text


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
    items = _ITEM.sub(", ", _TAG.sub(" ", text).strip(" \n*#:;|"))
    return _SPACE.sub(" ", items).strip(" *#:;|,")
