"""Pages of HTML, alone or as the chapters of an EPUB. Those nested deeper than any browser nests them are flattened: a
parser's time grows with the square of the depth.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote
from xml.etree import ElementTree

from selectolax.lexbor import LexborHTMLParser, LexborNode

from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import declared_in_html, decoded
from index_builder.documents.formats.office import refuse_bomb
from index_builder.documents.outline import Cell, Outline, one_line, raised, row_texts, span, spread

MAX_DEPTH = 400  # browsers stop at some 500
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})(?=[\s/>])[^<>]{0,2000}>|<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})>")
# They end where the next of their kind begins, or hold nothing: an open one is no depth.
_FLAT_NAMES = (
    "p li dt dd td th tr thead tbody tfoot option optgroup colgroup rp rt area base br col embed hr img input link "
    "meta source track wbr param script style textarea title"
)
_FLAT = frozenset(_FLAT_NAMES.split())
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
    **dict.fromkeys(("button", "select", "textarea", "input", "dialog"), "form"),
    "rt": "reading of characters",
    "rp": "",
    **dict.fromkeys(("img", "svg", "picture"), "image"),
    **dict.fromkeys(("iframe", "object", "embed", "video", "audio"), "embedded media"),
}  # fmt: skip
_ROLES = {"search": "form", "complementary": "side note"}
_ROLES |= dict.fromkeys(["navigation", "banner", "contentinfo"], "navigation")
_CONTENT = "p, table, article, section, h1, h2, h3, h4, dl"  # a form that holds such is the page itself
_NOTES = ("footnote", "endnote", "rearnote", "doc-footnote", "doc-endnote")
_XHTML = re.compile(rb"<\?xml|xmlns\s?=\s?[\"']http://www\.w3\.org/1999/xhtml")
_CLOSED = re.compile(r"<([a-zA-Z][a-zA-Z0-9:-]{0,40})((?:\s[^<>]{0,2000})?)/>")
_VOID_NAMES = "area base br col embed hr img input link meta source track wbr"
_PARTS = "h1, h2, h3, h4, h5, h6, pre"
_MAX_TABLES = 5  # in one another
_TEX_WRAPPER = re.compile(r"^\{\\displaystyle\s?(.*)\}$", re.DOTALL)
DroppedPart = Callable[[LexborNode, str], str | None]
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"\s+")
_HEAD_BYTES = 1024
_FIELDS = "author keywords date category department language subject status audience".split()  # noqa: SIM905


def flattened(markup: str) -> str:
    """`markup` without the tags of elements below a depth of MAX_DEPTH; their text stays."""
    if markup.count("<") <= MAX_DEPTH:
        return markup
    pieces: list[str] = []
    depth = position = 0
    for tag in _TAG.finditer(markup):
        name = (tag.group(2) or tag.group(4)).lower()
        if name in _FLAT:
            continue
        closes = bool(tag.group(1) or tag.group(3))
        depth = max(0, depth - 1) if closes else depth + 1
        if depth > MAX_DEPTH or (closes and depth == MAX_DEPTH):
            pieces.append(markup[position : tag.start()])
            position = tag.end()
    return "".join([*pieces, markup[position:]]) if pieces else markup


def children(node: LexborNode) -> Iterator[LexborNode]:
    """The nodes right below one."""
    child = node.child
    while child is not None:
        yield child
        child = child.next


def dropped_kind(node: LexborNode, tag: str) -> str | None:
    """How a node that holds no text of the page is counted; "" when it is not; None when it is read."""
    if tag == "form":
        return None if node.css_first(_CONTENT) is not None else "form"
    if (tag == "sup" and node.css_first("a[href^='#']") is not None) or (tag == "a" and _leads_to_note(node)):
        return "reference"
    if tag in _KINDS:
        return None if tag == "aside" and _is_note(node) else _KINDS[tag]
    if not (node.is_element_node or node.is_document_node):
        return ""
    attributes = node.attrs
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return "hidden element"
    return _ROLES.get(attributes.get("role") or "")


def _leads_to_note(link: LexborNode) -> bool:
    attributes = link.attrs
    return any(attributes.get(name) in ("noteref", "doc-noteref") for name in ("epub:type", "role"))


def _is_note(node: LexborNode) -> bool:
    """Whether a note of a book stands here, out of the way of its text."""
    attributes = node.attrs
    return any(attributes.get(name) in _NOTES for name in ("epub:type", "role"))


def without_short_tags(markup: str) -> str:
    """XHTML whose empty elements are closed as HTML's rules want it: `<title/>` would begin one that never ends."""
    return _CLOSED.sub(
        lambda tag: tag[0] if tag[1].lower() in _VOID_NAMES.split() else f"<{tag[1]}{tag[2]}></{tag[1]}>", markup
    )


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


def _node_text(node: LexborNode) -> str:
    """The text of a node; a number that is raised stays told from the one before it."""
    text = node.text_content or ""
    above = node.parent
    return raised(text) if above is not None and above.tag == "sup" else text


def is_layout(table: LexborNode) -> bool:
    """Whether a table only places things, or holds parts of a document; one that names its columns may hold tables."""
    if (table.attributes.get("role") or "") in ("presentation", "none"):
        return True
    parts = _PARTS if any(cell.tag == "th" for row in own_rows(table) for cell in children(row)) else f"table, {_PARTS}"
    return any(inner.mem_id != table.mem_id for inner in table.css(parts))


def own_rows(table: LexborNode) -> Iterator[LexborNode]:
    """The rows of a table, but for those of tables in its cells."""
    stack = list(reversed(list(children(table))))
    while stack:
        node = stack.pop()
        if node.tag == "tr":
            yield node
        elif node.tag in ("thead", "tbody", "tfoot"):
            stack.extend(reversed(list(children(node))))


@dataclass(frozen=True)
class CellReader:
    """The text of a cell as one line.

    Attributes:
        dropped_part: how a node that is no text is counted, "" when it is not, None to read it.
        drop: hears of each.
        num_tables: that the cell's own one stands in.
    """

    dropped_part: DroppedPart
    drop: Callable[[str], None]
    num_tables: int = 0

    def __call__(self, cell: LexborNode) -> str:
        """The text of `cell`."""
        pieces: list[str] = []
        stack = list(reversed(list(children(cell))))
        while stack:
            node = stack.pop()
            tag = node.tag or ""
            if node.is_text_node:
                pieces.append(_node_text(node))
            elif (kind := self.dropped_part(node, tag)) is not None:
                self.drop(kind)
            elif tag == "math":
                pieces.append(formula_text(node))
            elif (kind := dropped_kind(node, tag)) is not None:
                self.drop(kind)
            elif tag == "table" and self.num_tables < _MAX_TABLES:
                rows, has_header = table_rows(node, replace(self, num_tables=self.num_tables + 1))
                pieces.append(f" {'. '.join(row_texts(rows, has_header))} ")
            else:
                if tag == "br" or tag in BLOCKS:
                    pieces.append(" ")
                stack.extend(reversed(list(children(node))))
        return _SPACE.sub(" ", "".join(pieces)).strip()


def table_rows(table: LexborNode, read: CellReader) -> tuple[list[list[str]], bool | None]:
    """The rows of a table, and whether the first holds the columns' headings (None: it does not say)."""
    return spread(
        [
            Cell(read(cell), cell.tag == "th", _span(cell, "rowspan"), across=_span(cell, "colspan"))
            for cell in children(row)
            if cell.tag in ("td", "th")
        ]
        for row in own_rows(table)
    )


def _span(cell: LexborNode, name: str) -> int:
    return span(cell.attributes.get(name) or "")


def read_html_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a page's text; its <title>.

    Raises:
        SkippedError: the bytes are no text.
    """
    markup = decoded(content, name, declared_in_html(content))
    return read_html(without_short_tags(markup) if _XHTML.search(content, 0, _HEAD_BYTES) else markup, outline)


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
                self._pieces.append(_SPACE.sub(" ", _node_text(node)))
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


_CONTAINER = "META-INF/container.xml"
_BROKEN = (KeyError, ElementTree.ParseError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, OSError)
_CONTENTS = "application/x-dtbncx+xml"
_PAGES = ("application/xhtml+xml", "text/html")


def read_epub_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the chapters of a book; its title.

    Raises:
        SkippedError: it is encrypted, broken, or too large.
    """
    refuse_bomb(content, name, "broken book")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            package_name, package = _package(archive)
            labels = _labels(archive, package_name, package)
            for chapter in _chapters(package_name, package):
                inner = Outline()
                _read_chapter(archive, chapter, name, outline=inner)
                outline.absorb(inner, "" if inner.has_headings else labels.get(chapter, ""))
    except RuntimeError as error:
        raise SkippedError("encrypted document", name, str(error)) from error
    except _BROKEN as error:
        raise SkippedError("broken book", name, f"{type(error).__name__}: {error}") from error
    for field, tag in {"author": "creator", "language": "language", "subject": "subject", "date": "date"}.items():
        outline.add_field(field, [element.text or "" for element in package.iterfind(f".//{{*}}{tag}")])
    return package.findtext(".//{*}title") or ""


def _package(archive: zipfile.ZipFile) -> tuple[str, ElementTree.Element]:
    root = _element(archive.read(_CONTAINER)).find(".//{*}rootfile")
    if root is None:
        raise KeyError("no rootfile in its container")
    name = root.attrib["full-path"]
    return name, _element(archive.read(name))


def _chapters(package_name: str, package: ElementTree.Element) -> Iterator[str]:
    pages = {
        item.get("id"): item.get("href", "")
        for item in package.iterfind(".//{*}manifest/{*}item")
        if item.get("media-type") in _PAGES and "nav" not in (item.get("properties") or "").split()
    }
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        if href := pages.get(reference.get("idref")):
            yield _place(package_name, href)


def _labels(archive: zipfile.ZipFile, package_name: str, package: ElementTree.Element) -> dict[str, str]:
    """What the table of contents of older books calls the chapters, which may have no heading of their own."""
    found: dict[str, str] = {}
    for item in package.iterfind(".//{*}manifest/{*}item"):
        if item.get("media-type") != _CONTENTS:
            continue
        name = _place(package_name, item.get("href", ""))
        try:
            points = _element(archive.read(name)).iterfind(".//{*}navPoint")
        except (*_BROKEN, RuntimeError):
            continue
        for point in points:
            content = point.find("{*}content")
            href = "" if content is None else content.get("src", "").partition("#")[0]
            found.setdefault(_place(name, href), point.findtext("{*}navLabel/{*}text") or "")
    return found


def _place(beside: str, href: str) -> str:
    """Where a link in the file `beside` leads, within the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(beside), unquote(href)))


def _read_chapter(archive: zipfile.ZipFile, chapter: str, name: str, outline: Outline) -> None:
    try:
        page = archive.read(chapter)
    except _BROKEN as error:
        outline.leave_out(SkippedError("broken chapter", f"{name}, {chapter}", f"{type(error).__name__}: {error}"))
        return
    read_html_file(page, f"{name}, {chapter}", outline)


def _element(xml: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in xml:
        raise ValueError("entities in its package")
    return ElementTree.fromstring(xml)  # noqa: S314 - without entities there is nothing to expand
