"""HTML pages: headings, paragraphs, list items, rows of tables and code, without what surrounds the text."""

from __future__ import annotations

import re
from collections.abc import Callable

from selectolax.lexbor import LexborHTMLParser, LexborNode

from index_builder.documents.encodings import declared_in_html, decoded
from index_builder.documents.formats.html_depth import flattened
from index_builder.documents.formats.html_nodes import (
    BLOCKS,
    CellReader,
    children,
    code_text,
    dropped_kind,
    formula_text,
    is_layout,
    table_rows,
)
from index_builder.documents.outline import Outline, one_line

DroppedPart = Callable[[LexborNode, str], str | None]
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"\s+")
_FIELDS = frozenset(
    ["author", "keywords", "date", "category", "department", "language", "subject", "status", "audience"]
)


def read_html_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a page's text; its <title>.

    Raises:
        SkippedError: the bytes are no text.
    """
    return read_html(decoded(content, name, declared_in_html(content)), outline)


def read_html(markup: str, outline: Outline, dropped_part: DroppedPart = lambda node, tag: None) -> str:
    """Add the text of `markup`, out of its one <main> if it has one; its <title>. Its <meta> names are fields.

    Args:
        dropped_part: how a node that is no text of this kind of pages is counted, "" when it is not, None to read it.
    """
    tree = LexborHTMLParser(flattened(markup))
    mains = tree.css("main, [role=main]")
    root = mains[0] if len(mains) == 1 else tree.root
    if root is not None:
        _Reader(outline, dropped_part).read(root)
    _add_fields(tree, outline)
    title = tree.css_first("head > title")
    return one_line(title.text()) if title is not None else ""


def _add_fields(tree: LexborHTMLParser, outline: Outline) -> None:
    for meta in tree.css("head > meta[name][content]"):
        name, value = (meta.attributes.get("name") or "").lower(), meta.attributes.get("content") or ""
        if name in _FIELDS:
            outline.add_field(name, value.split(",") if name == "keywords" else value)


class _Reader:
    """One walk over a tree, without recursion, so that nesting may be of any depth."""

    def __init__(self, outline: Outline, dropped_part: DroppedPart) -> None:
        self._outline = outline
        self._dropped_part = dropped_part
        self._pieces: list[str] = []  # of the paragraph or heading that is open

    def read(self, root: LexborNode) -> None:
        stack: list[tuple[LexborNode, bool]] = [(root, False)]  # nodes ahead, and whether only their end is
        while stack:
            node, ends = stack.pop()
            tag = node.tag or ""
            if ends:
                self._flush(_HEADINGS.get(tag))
            elif node.is_text_node:
                self._pieces.append(_SPACE.sub(" ", node.text_content or ""))
            elif tag == "br":
                self._pieces.append("\n")
            elif (kind := self._dropped_part(node, tag)) is not None:
                self._drop(kind)
            elif tag == "math":
                self._pieces.append(formula_text(node))
            elif (kind := dropped_kind(node, tag)) is not None:
                self._drop(kind)
            elif tag == "pre":
                self._flush(None)
                self._outline.add_code(code_text(node))
            elif tag == "table" and not is_layout(node):
                self._flush(None)
                self._read_table(node)
            else:
                if tag in BLOCKS or tag in _HEADINGS:
                    self._flush(None)
                    stack.append((node, True))
                stack.extend(reversed([(child, False) for child in children(node)]))
        self._flush(None)

    def _read_table(self, table: LexborNode) -> None:
        caption = table.css_first("caption")
        if caption is not None:
            self._outline.add_paragraph(caption.text(separator=" "))
        rows, has_header = table_rows(table, CellReader(self._dropped_part, self._drop))
        self._outline.add_table(rows, has_header)

    def _drop(self, kind: str) -> None:
        if kind:
            self._outline.drop(kind)

    def _flush(self, heading_level: int | None) -> None:
        text = "".join(self._pieces)
        self._pieces = []
        if heading_level is not None:
            self._outline.add_heading(heading_level, text)
            return
        for line in text.split("\n"):
            self._outline.add_paragraph(line)
