"""reStructuredText, by the reference implementation of its rules."""

from __future__ import annotations

from typing import Any

import docutils.core
import docutils.nodes
import docutils.utils

from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.outline import Outline

_SETTINGS = {
    "file_insertion_enabled": False,  # `include` would read other files
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 6,
    "input_encoding": "unicode",
    "_disable_config": True,
    "syntax_highlight": "none",
    "line_length_limit": 100_000,
    "doctitle_xform": True,
}
_DROPPED = {"image": "image", "math_block": "", "comment": "", "substitution_definition": "", "target": ""}


def read_rst_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the sections, paragraphs, tables and code of a file; its title. Its leading field list becomes fields.

    Raises:
        SkippedError: the bytes are no text, or no such text.
    """
    text = decoded(content, name)
    try:
        document = docutils.core.publish_doctree(text, settings_overrides=_SETTINGS)
    except (docutils.utils.SystemMessage, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise SkippedError("broken reStructuredText", name, f"{type(error).__name__}: {error}"[:300]) from error
    _Walk(outline).read(document)
    return str(document.get("title") or "")


class _Walk:
    """One walk over the parsed document, without recursion."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline

    def read(self, document: Any) -> None:
        stack: list[tuple[Any, int]] = [(document, 1)]
        while stack:
            node, level = stack.pop()
            if not self._take(node, level):
                deeper = level + 1 if isinstance(node, docutils.nodes.section) else level
                stack.extend((child, deeper) for child in reversed(node.children))

    def _take(self, node: Any, level: int) -> bool:
        """Add what a node holds as a whole; False when its children are to be looked at."""
        kind = node.tagname
        if kind in ("title", "subtitle", "rubric"):
            self._outline.add_heading(level if kind == "title" else level + 1, node.astext())
        elif kind in ("literal_block", "doctest_block", "math_block"):
            self._outline.add_code(node.astext())
        elif kind == "table":
            self._add_table(node)
        elif kind in ("docinfo", "field_list"):
            self._add_fields(node)
        elif kind in ("paragraph", "term", "attribution", "line", "caption", "#text", "inline", "reference"):
            self._outline.drop("image", len(list(node.findall(docutils.nodes.image))))
            self._outline.add_paragraph(node.astext())
        elif kind in _DROPPED or kind in ("system_message", "problematic", "pending", "raw"):
            if _DROPPED.get(kind):
                self._outline.drop(_DROPPED[kind])
        else:
            return False
        return True

    def _add_table(self, table: Any) -> None:
        for title in table.findall(docutils.nodes.title):
            self._outline.add_paragraph(title.astext())
        rows = [[entry.astext() for entry in row.children] for row in table.findall(docutils.nodes.row)]
        self._outline.add_table(rows, has_header=bool(list(table.findall(docutils.nodes.thead))))

    def _add_fields(self, node: Any) -> None:
        for field in node.children:
            if isinstance(field, docutils.nodes.field):
                name, body = (child.astext() for child in field.children[:2])
                self._outline.add_field(name, body)
            else:
                self._outline.add_field(field.tagname, field.astext())
