"""What the elements of an HTML page mean for its text: tables as rows, code, formulas, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from selectolax.lexbor import LexborNode

from index_builder.documents.grid import Cell, span, spread

_BLOCK_NAMES = (
    "address article blockquote body center details summary dd div dl dt fieldset figcaption figure header hgroup hr "
    "html li main ol p section ul table tbody thead tfoot tr td th caption pre"
)
BLOCKS = frozenset(_BLOCK_NAMES.split())
# What holds no text of the page, and how it is counted; "" is not counted, since nothing can be missed in it.
_KINDS = {
    **dict.fromkeys(("script", "style", "noscript", "template", "head", "canvas", "source", "track"), ""),
    **dict.fromkeys(("nav", "menu", "footer"), "navigation"),
    "aside": "side note",
    **dict.fromkeys(("form", "button", "select", "textarea", "input", "dialog"), "form"),
    **dict.fromkeys(("img", "svg", "picture"), "image"),
    **dict.fromkeys(("iframe", "object", "embed", "video", "audio"), "embedded media"),
}  # fmt: skip
_ROLES = {
    "navigation": "navigation", "search": "form", "banner": "navigation", "contentinfo": "navigation",
    "complementary": "side note",
}  # fmt: skip
_LAYOUT = "table, h1, h2, h3, h4, h5, h6, pre"
_SPACE = re.compile(r"\s+")
_TEX_WRAPPER = re.compile(r"^\{\\displaystyle\s?(.*)\}$", re.DOTALL)


def children(node: LexborNode) -> Iterator[LexborNode]:
    """The nodes right below one."""
    child = node.child
    while child is not None:
        yield child
        child = child.next


def dropped_kind(node: LexborNode, tag: str) -> str | None:
    """How a node that holds no text of the page is counted; "" when it is not; None when it is read."""
    if tag in _KINDS:
        return _KINDS[tag]
    if not (node.is_element_node or node.is_document_node):
        return ""
    attributes = node.attrs
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return "hidden element"
    return _ROLES.get(attributes.get("role") or "")


def code_text(node: LexborNode) -> str:
    """The text of an element as it stands."""
    return node.text(separator="")


def formula_text(node: LexborNode) -> str:
    """A formula as it was written, in TeX if its annotation or alternative says so, else its symbols."""
    annotation = node.css_first("annotation")
    written = (
        node.attributes.get("alttext")
        or (annotation.text() if annotation is not None else "")
        or node.text(separator=" ")
    )
    tex = _TEX_WRAPPER.match(written.strip())
    return f" {_SPACE.sub(' ', tex.group(1) if tex else written).strip()} "


def is_layout(table: LexborNode) -> bool:
    """Whether a table only places things on the page, or holds parts of a document of their own."""
    if (table.attributes.get("role") or "") in ("presentation", "none"):
        return True
    return any(inner.mem_id != table.mem_id for inner in table.css(_LAYOUT))


@dataclass(frozen=True)
class CellReader:
    """The text of a cell as one line.

    Attributes:
        dropped_part: how a node that is no text is counted, "" when it is not, None to read it.
        drop: hears of each.
    """

    dropped_part: Callable[[LexborNode, str], str | None]
    drop: Callable[[str], None]

    def __call__(self, cell: LexborNode) -> str:
        """The text of `cell`."""
        pieces: list[str] = []
        stack = list(reversed(list(children(cell))))
        while stack:
            node = stack.pop()
            tag = node.tag or ""
            if node.is_text_node:
                pieces.append(node.text_content or "")
            elif (kind := self.dropped_part(node, tag)) is not None:
                self.drop(kind)
            elif tag == "math":
                pieces.append(formula_text(node))
            elif (kind := dropped_kind(node, tag)) is not None:
                self.drop(kind)
            else:
                if tag == "br" or tag in BLOCKS:
                    pieces.append(" ")
                stack.extend(reversed(list(children(node))))
        return _SPACE.sub(" ", "".join(pieces)).strip()


def table_rows(table: LexborNode, read: CellReader) -> tuple[list[list[str]], bool | None]:
    """The rows of a table, and whether the first holds the columns' headings (None: it does not say)."""
    return spread(
        [
            Cell(read(cell), cell.tag == "th", span(cell.attributes.get("rowspan") or ""), across=_across(cell))
            for cell in children(row)
            if cell.tag in ("td", "th")
        ]
        for row in table.css("tr")
    )


def _across(cell: LexborNode) -> int:
    return span(cell.attributes.get("colspan") or "")
