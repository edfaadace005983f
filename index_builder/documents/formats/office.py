"""Word and PowerPoint files: headings, paragraphs, slides and their tables; and what all packages of Office share."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from index_builder.documents.compressed import plain_stem
from index_builder.documents.document import SkippedError
from index_builder.documents.outline import Outline, one_line, row_texts

MAX_UNPACKED_BYTES = 256 << 20
_HEADING_STYLE = re.compile(
    r"^(?:heading|überschrift|titre|título|titolo|kop|rubrik|overskrift)\s*([1-9])$", re.IGNORECASE
)
_HEADER_PART = re.compile(r"/(?:header|footer)\d{0,3}\.xml$")
_OLE = b"\xd0\xcf\x11\xe0"


def read_docx_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a Word file's paragraphs and tables under its headings; its title.

    Raises:
        SkippedError: it is encrypted or broken.
    """
    import docx
    from docx.table import Table

    with opened_package(content, name, "Word"):
        found = docx.Document(io.BytesIO(content))
        core_fields(found.core_properties, outline)
        for block in found.iter_inner_content():
            if isinstance(block, Table):
                _add_docx_table(block, outline)
            else:
                _add_docx_paragraph(block, outline)
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


def _add_docx_paragraph(paragraph: Any, outline: Outline) -> None:
    text = paragraph.text
    outline.drop("image", len(paragraph._p.xpath(".//w:drawing | .//w:pict")))
    for inner in paragraph._p.xpath(".//w:txbxContent//w:p"):
        outline.add_paragraph("".join(node.text or "" for node in inner.xpath(".//w:t")))
    level = _heading_level(paragraph)
    if level is not None:
        outline.add_heading(level, text)
        return
    for line in text.split("\n"):
        outline.add_paragraph(line)


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


def _add_docx_table(table: Any, outline: Outline) -> None:
    outline.add_table(_docx_rows(table))


def _docx_rows(table: Any) -> list[list[str]]:
    rows = []
    for row in table.rows:
        cells, seen = [], None
        for cell in row.cells:
            cells.append("" if cell._tc is seen else _cell_text(cell))
            seen = cell._tc
        rows.append(cells)
    return rows


def _cell_text(cell: Any) -> str:
    """A cell's own lines, then the tables in it, row by row."""
    inner = (text for table in cell.tables for text in row_texts(_docx_rows(table)))
    return ". ".join(part for part in (" ".join(_cell_lines(cell)).strip(), *inner) if part)


def _cell_lines(cell: Any) -> Iterator[str]:
    for paragraph in cell._tc.xpath(".//w:p"):
        if paragraph.xpath("ancestor::w:tc[1]")[0] is not cell._tc:
            continue  # of a table in it
        texts = paragraph.xpath(".//w:t | .//w:tab")
        yield "".join(node.text or ("\t" if node.tag.endswith("}tab") else "") for node in texts)


def _add_docx_extras(found: Any, outline: Outline) -> None:
    """Footnotes and endnotes, which the library does not open; comments are counted."""
    for part in found.part.package.iter_parts():
        name = str(part.partname)
        if name.endswith(("/footnotes.xml", "/endnotes.xml")):
            from lxml import etree

            root = etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))
            for note in root.iterfind(".//{*}p"):
                outline.add_paragraph("".join(text.text or "" for text in note.iterfind(".//{*}t")))
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
            outline.add_paragraph("".join(run.text for run in paragraph.runs) or paragraph.text)
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
