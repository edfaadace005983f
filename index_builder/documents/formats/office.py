"""Word, PowerPoint and OpenDocument files: headings, paragraphs, slides and tables; what packages of Office share."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from index_builder.documents.compressed import plain_stem
from index_builder.documents.document import SkippedError
from index_builder.documents.outline import Outline, one_line, row_texts, span

MAX_UNPACKED_BYTES = 256 << 20
_HEADING_STYLE = re.compile(
    r"^(?:heading|überschrift|titre|título|titolo|kop|rubrik|overskrift)\s*([1-9])$", re.IGNORECASE
)
_HEADER_PART = re.compile(r"/(?:header|footer)\d{0,3}\.xml$")
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_BOX = f"{_WORD}txbxContent"
# What a reader does not see: deleted text, what is shown where another form of it is, and properties.
_UNSEEN = frozenset({_FALLBACK, *(_WORD + name for name in ("del", "moveFrom", "pPr", "rPr", "tblPr", "trPr", "tcPr"))})
_SIGNS = {
    **{_WORD + name: sign for name, sign in {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}.items()},
    **{_MATH + name: sign for name, sign in {"den": "/", "sup": "^", "sub": "_", "rad": "√"}.items()},
}
_TEXTS = frozenset({f"{_WORD}t", f"{_MATH}t"})
_OBJECT = f"{_WORD}object"
_PICTURES = frozenset({f"{_WORD}drawing", f"{_WORD}pict", _OBJECT})
_OLE = b"\xd0\xcf\x11\xe0"


def read_docx_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a Word file's paragraphs and tables under its headings; its title.

    Raises:
        SkippedError: it is encrypted or broken.
    """
    import docx

    with opened_package(content, name, "Word"):
        found = docx.Document(io.BytesIO(content))
        core_fields(found.core_properties, outline)
        _add_docx_blocks(found.element.body, found, outline)
        _drop_pictures(found.element.body, outline)
        _add_docx_extras(found, outline)
        return own_title(found.core_properties.title)
    raise AssertionError("unreachable")


def read_pptx_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a presentation's slides as sections, with their tables and notes; its title.

    Raises:
        SkippedError: it is encrypted or broken.
    """
    from pptx import Presentation

    with opened_package(content, name, "PowerPoint"):
        found = Presentation(io.BytesIO(content))
        core_fields(found.core_properties, outline)
        for number, slide in enumerate(found.slides, start=1):
            title = one_line(slide.shapes.title.text_frame.text) if slide.shapes.title is not None else ""
            outline.add_heading(2, f"Slide {number}: {title}" if title else f"Slide {number}")
            for shape in _shapes(slide.shapes):
                _add_shape(shape, outline, is_title=bool(title) and shape == slide.shapes.title)
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                outline.add_paragraph(slide.notes_slide.notes_text_frame.text)
        return own_title(found.core_properties.title) or plain_stem(name)
    raise AssertionError("unreachable")


class opened_package:  # noqa: N801 - reads as a verb
    """Turns what goes wrong inside the block into one cause: encrypted, too large, broken."""

    def __init__(self, content: bytes, name: str, kind: str) -> None:
        self._name, self._kind = name, kind
        if content.startswith(_OLE):
            raise SkippedError("encrypted document", name, f"{kind} with a password, or of before 2007")
        refuse_bomb(content, name, f"broken {kind} file")

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, SkippedError | MemoryError):
            detail = f"{type(error).__name__}: {error}"[:300]
            raise SkippedError(f"broken {self._kind} file", self._name, detail) from error


def refuse_bomb(content: bytes, name: str, cause: str) -> None:
    """Refuse a zip file that is none, or that unpacks to more than memory should hold.

    Raises:
        SkippedError: with `cause`, or because it is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SkippedError(cause, name, f"{type(error).__name__}: {error}") from error
    if size > MAX_UNPACKED_BYTES:
        raise SkippedError("file over the size limit", name, f"{size} bytes unpacked, {MAX_UNPACKED_BYTES} are legal")


def own_title(value: object) -> str:
    """The title that a file says it has, if a person has given it."""
    text = one_line(str(value or ""))
    return "" if text.lower() in ("powerpoint presentation", "word document", "presentation") else text


def core_fields(properties: Any, outline: Outline) -> None:
    """Add what a file says of itself as fields."""
    for field, attributes in {
        "author": ("author", "creator"), "category": ("category",), "keywords": ("keywords",), "subject": ("subject",),
        "language": ("language",),
    }.items():  # fmt: skip
        value = next((found for name in attributes if (found := getattr(properties, name, None))), "")
        if value and value not in ("python-docx", "openpyxl"):
            outline.add_field(field, re.split(r"[,;]", str(value)) if field == "keywords" else str(value))


def _heading_level(paragraph: Any) -> int | None:
    """The level of a heading by its style, as every language of Word names it, or by its outline."""
    style = paragraph.style
    while style is not None:
        if style.name == "Title":
            return 1
        if found := _HEADING_STYLE.match(style.name or ""):
            return int(found.group(1))
        outlined = style.element.xpath("./w:pPr/w:outlineLvl/@w:val")
        if outlined and outlined[0].isdigit() and int(outlined[0]) < 9:
            return int(outlined[0]) + 1
        style = style.base_style
    return None


def _seen(root: Any, inner: frozenset[str] = frozenset()) -> Iterator[Any]:
    """The elements below `root` that a reader sees, in order; what lies in those of the names `inner` is left out."""
    stack = list(reversed(root))
    while stack:
        element = stack.pop()
        if element.tag in _UNSEEN:
            continue
        yield element
        if element.tag not in inner:
            stack.extend(reversed(element))


def _docx_text(root: Any) -> str:
    """The text of a paragraph, with what was inserted, fields, controls and formulas, without its text boxes."""
    return "".join(
        (element.text or "") if element.tag in _TEXTS else _SIGNS.get(element.tag, "")
        for element in _seen(root, frozenset({_BOX}))
    )


def _docx_blocks(root: Any) -> Iterator[Any]:
    """The paragraphs and tables right below an element, or in the controls there."""
    blocks = frozenset({f"{_WORD}p", f"{_WORD}tbl"})
    return (element for element in _seen(root, blocks) if element.tag in blocks)


def _add_docx_blocks(root: Any, document: Any, outline: Outline) -> None:
    for block in _docx_blocks(root):
        if block.tag == f"{_WORD}tbl":
            outline.add_table(_docx_rows(block))
        else:
            _add_docx_paragraph(block, document, outline)


def _add_docx_paragraph(paragraph: Any, document: Any, outline: Outline) -> None:
    from docx.text.paragraph import Paragraph

    for box in _boxes(paragraph):
        _add_docx_blocks(box, document, outline)
    level = _heading_level(Paragraph(paragraph, document))
    text = _docx_text(paragraph)
    if level is not None:
        outline.add_heading(level, text)
        return
    for line in text.split("\n"):
        outline.add_paragraph(line)


def _boxes(root: Any) -> list[Any]:
    return [element for element in _seen(root, frozenset({_BOX})) if element.tag == _BOX]


def _drop_pictures(root: Any, outline: Outline) -> None:
    """Count what is drawn, but for text boxes, which are read, and embedded files."""
    for element in _seen(root, _PICTURES):
        if element.tag in _PICTURES and not _boxes(element):
            outline.drop("embedded object" if element.tag == _OBJECT else "image")


def _docx_rows(table: Any) -> list[list[str]]:
    """The rows of a table; a cell that reaches down holds its text in each."""
    rows: list[list[str]] = []
    above: dict[int, str] = {}  # by its column, the text of the last cell that began
    row_tag, cell_tag = f"{_WORD}tr", f"{_WORD}tc"
    for row in (each for each in _seen(table, frozenset({row_tag})) if each.tag == row_tag):
        if row.find(f"{_WORD}trPr/{_WORD}del") is not None:
            continue
        cells: list[str] = []
        for cell in (each for each in _seen(row, frozenset({cell_tag})) if each.tag == cell_tag):
            merged = cell.find(f"{_WORD}tcPr/{_WORD}vMerge")
            if merged is None or merged.get(f"{_WORD}val") == "restart":
                above[len(cells)] = _cell_text(cell)
            cells.extend([above.get(len(cells), ""), *[""] * (_num_columns(cell) - 1)])
        rows.append(cells)
    return rows


def _num_columns(cell: Any) -> int:
    across = cell.find(f"{_WORD}tcPr/{_WORD}gridSpan")
    return 1 if across is None else span(across.get(f"{_WORD}val") or "")


def _cell_text(cell: Any) -> str:
    """A cell's own lines, then the tables in it, row by row."""
    blocks = [block for root in (cell, *_boxes(cell)) for block in _docx_blocks(root)]
    own = " ".join(_docx_text(block) for block in blocks if block.tag == f"{_WORD}p").strip()
    inner = (text for block in blocks if block.tag == f"{_WORD}tbl" for text in row_texts(_docx_rows(block)))
    return ". ".join(part for part in (own, *inner) if part)


def _add_docx_extras(found: Any, outline: Outline) -> None:
    """Footnotes and endnotes, which the library does not open; comments are counted."""
    for part in found.part.package.iter_parts():
        name = str(part.partname)
        if name.endswith(("/footnotes.xml", "/endnotes.xml")):
            from lxml import etree

            root = etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))
            for note in root.iterfind(f".//{_WORD}p"):
                outline.add_paragraph(_docx_text(note))
        elif name.endswith("/comments.xml"):
            outline.drop("comments of a document")
        elif _HEADER_PART.search(name) and b"<w:t" in part.blob:
            outline.drop("header or footer of a page")


def _shapes(shapes: Any) -> Iterator[Any]:
    """All shapes, those in groups too."""
    stack = list(reversed(list(shapes)))
    while stack:
        shape = stack.pop()
        if hasattr(shape, "shapes"):
            stack.extend(reversed(list(shape.shapes)))
        else:
            yield shape


def _add_shape(shape: Any, outline: Outline, is_title: bool) -> None:
    if is_title:
        return
    if getattr(shape, "has_table", False):
        outline.add_table([[cell.text_frame.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_text_frame", False) and shape.text_frame.text.strip():
        for paragraph in shape.text_frame.paragraphs:
            for line in paragraph.text.split("\v"):
                outline.add_paragraph(line)
    elif getattr(shape, "has_chart", False):
        _add_chart(shape.chart, outline)
    elif hasattr(shape, "image"):
        outline.drop("image")


def _add_chart(chart: Any, outline: Outline) -> None:
    """A chart's numbers: a row a category."""
    for plot in chart.plots:
        series = list(plot.series)
        rows = [["", *(each.name for each in series)]]
        for number, category in enumerate(plot.categories):
            values = [each.values[number] if number < len(each.values) else None for each in series]
            rows.append([str(category), *("" if value is None else f"{value:g}" for value in values)])
        outline.add_table(rows, has_header=True)


def read_open_document(content: bytes, name: str, outline: Outline) -> str:
    """Add the paragraphs, lists, tables, slides and sheets of an OpenDocument file; its title.

    Raises:
        SkippedError: it is encrypted or broken.
    """
    with opened_package(content, name, "OpenDocument"), zipfile.ZipFile(io.BytesIO(content)) as archive:
        if b"encryption-data" in _member(archive, "META-INF/manifest.xml"):
            raise SkippedError("encrypted document", name, "OpenDocument with a password")
        _OpenWalk(outline).read(_tree(archive.read("content.xml")))
        meta = _member(archive, "meta.xml")
        facts = _tree(meta or b"<none/>")
        for field, tag in _OPEN_FIELDS.items():
            outline.add_field(field, [element.text or "" for element in facts.iterfind(f".//{{*}}{tag}")])
        return own_title(facts.findtext(".//{*}title"))
    raise AssertionError("unreachable")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    return archive.read(name) if name in archive.namelist() else b""


def _tree(xml: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True))


_OPEN_FIELDS = {"author": "creator", "language": "language", "keywords": "keyword", "subject": "subject"}
_OPEN_SIGNS = {"tab": "\t", "line-break": "\n", "soft-page-break": ""}
_OPEN_DROPPED = {"image": "image", "object": "embedded object", "annotation": "comments of a document"}
_OPEN_UNSEEN = frozenset(["tracked-changes", "note-citation", "forms", "annotation-end", "sequence-decls", "desc"])
_OPEN_APART = frozenset(["note-body", "text-box"])  # read behind the paragraph that they are anchored in


class _OpenWalk:
    """One walk over the content of an OpenDocument file."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._num_slides = 0

    def read(self, root: Any) -> None:
        stack = [root]
        while stack:
            element = stack.pop()
            name = _local(element)
            if name in _OPEN_DROPPED:
                self._outline.drop(_OPEN_DROPPED[name])
            elif name in ("h", "p"):
                stack.extend(reversed(self._add_text(element, name)))
            elif name == "table":
                self._add_table(element)
            elif name not in _OPEN_UNSEEN:
                if name == "page":
                    self._num_slides += 1
                    self._outline.add_heading(2, f"Slide {self._num_slides}")
                stack.extend(reversed(element))

    def _add_text(self, element: Any, name: str) -> list[Any]:
        """Add a paragraph or heading; what is anchored in it and read behind it."""
        text, apart = self._text(element)
        if name == "h":
            level = next((value for key, value in element.attrib.items() if key.endswith("}outline-level")), "1")
            self._outline.add_heading(int(level) if level.isdigit() else 1, text)
        else:
            for line in text.split("\n"):
                self._outline.add_paragraph(line)
        return apart

    def _text(self, element: Any) -> tuple[str, list[Any]]:
        pieces, apart = [element.text or ""], []
        stack = list(reversed(element))
        while stack:
            node = stack.pop()
            if isinstance(node, str):
                pieces.append(node)
                continue
            stack.append(node.tail or "")
            name = _local(node)
            if name in _OPEN_APART:
                apart.append(node)
            elif name in _OPEN_DROPPED:
                self._outline.drop(_OPEN_DROPPED[name])
            elif name in _OPEN_SIGNS or name == "s":
                pieces.append(_OPEN_SIGNS.get(name, " "))
            elif name not in _OPEN_UNSEEN:
                pieces.append(node.text or "")
                stack.extend(reversed(node))
        return "".join(pieces), apart

    def _add_table(self, table: Any) -> None:
        name = next((value for key, value in table.attrib.items() if key.endswith("}name")), "")
        if _local(table.getparent()) == "spreadsheet":
            self._outline.add_heading(2, name)
        self._outline.add_table(self._rows(table))

    def _rows(self, table: Any) -> Iterator[list[str]]:
        for row in _own(table, "table-row"):
            cells: list[str] = []
            for cell in row:
                inner = [". ".join(row_texts(list(self._rows(each)))) for each in _own(table, "table", cell)]
                text = " ".join([*(self._text(each)[0] for each in _own(table, "p", cell)), *inner])
                repeated = next((value for key, value in cell.attrib.items() if key.endswith("columns-repeated")), "1")
                cells.extend([text] * (span(repeated) if text or len(row) > 1 else 1))
            yield cells


def _own(table: Any, name: str, within: Any = None) -> Iterator[Any]:
    """The elements of a table that are in none of its cells' tables."""
    found = (table if within is None else within).iterfind(f".//{{*}}{name}")
    return (each for each in found if next(each.iterancestors("{*}table")) is table)


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""
