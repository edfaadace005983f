"""HTML pages: headings, paragraphs and list items, without what is no prose."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from index_builder.documents.formats.plain_text import decoded
from index_builder.documents.outline import Outline, one_line

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_HEAD_BYTES = 4096
_WITHOUT_PROSE = (
    "script style noscript template table pre math svg nav footer aside form button select textarea iframe object "
    "embed video audio canvas dialog head menu"
)
_DROPPED = frozenset(_WITHOUT_PROSE.split())
_DROPPED_ROLES = frozenset({"navigation", "search", "banner", "contentinfo", "complementary"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCK_NAMES = (
    "address article blockquote body center details summary dd div dl dt fieldset figcaption figure header hgroup hr "
    "html li main ol p section ul"
)
_BLOCKS = frozenset((*_BLOCK_NAMES.split(), *_HEADINGS))


def read_html_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a page's headings and paragraphs; its <title>.

    Raises:
        SkippedError: the bytes are no text of the encoding that the page names, UTF-8 if it names none.
    """
    charset = _CHARSET.search(content, 0, _HEAD_BYTES)
    return read_html(decoded(content, name, charset.group(1).decode() if charset else "utf-8"), outline)


def read_html(markup: str, outline: Outline) -> str:
    """Add the headings and paragraphs of `markup`, out of its one <main> if it has one; its <title>."""
    tree = LexborHTMLParser(markup)
    mains = tree.css("main, [role=main]")
    root = mains[0] if len(mains) == 1 else tree.root
    if root is not None:
        _Reader(outline).read(root)
    title = tree.css_first("head > title")
    return one_line(title.text()) if title is not None else ""


class _Reader:
    """One walk over a tree, without recursion, so that nesting may be of any depth."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._pieces: list[str] = []  # of the paragraph or heading that is open

    def read(self, root: LexborNode) -> None:
        stack: list[tuple[LexborNode, bool]] = [(root, False)]  # nodes ahead, and whether only their end is
        while stack:
            node, ends = stack.pop()
            tag = node.tag or ""
            if ends:
                self._flush(_HEADINGS.get(tag))
            elif node.is_text_node:
                self._pieces.append(re.sub(r"\s+", " ", node.text_content or ""))
            elif tag == "br":
                self._pieces.append("\n")
            elif not _is_dropped(node, tag):
                if tag in _BLOCKS:
                    self._flush(None)
                    stack.append((node, True))
                stack.extend(reversed([(child, False) for child in _children(node)]))
        self._flush(None)

    def _flush(self, heading_level: int | None) -> None:
        text = "".join(self._pieces)
        self._pieces = []
        if heading_level is not None:
            self._outline.add_heading(heading_level, text)
            return
        for line in text.split("\n"):
            self._outline.add_paragraph(line)


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.child
    while child is not None:
        yield child
        child = child.next


def _is_dropped(node: LexborNode, tag: str) -> bool:
    if tag in _DROPPED or not (node.is_element_node or node.is_document_node):
        return True
    attributes = node.attrs
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or (attributes.get("role") or "") in _DROPPED_ROLES
    )
