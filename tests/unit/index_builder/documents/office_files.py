"""Files of companies made for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

import docx
import openpyxl
import pptx
from pptx.util import Inches

PRICES = [["Product", "Price", "Unit"], ["Anvil", "120 EUR", "piece"], ["Nails", "4 EUR", "kilogram"]]


def word(paragraphs: Sequence[tuple[str, str]], table: Sequence[Sequence[str]] = ()) -> bytes:
    """A Word file of (style, text), then a table."""
    document = docx.Document()
    document.core_properties.title = "Handbook"
    document.core_properties.author = "Ada Quill"
    for style, text in paragraphs:
        document.add_paragraph(text, style=style)
    if table:
        rows = document.add_table(rows=0, cols=len(table[0]))
        for values in table:
            for cell, value in zip(rows.add_row().cells, values, strict=True):
                cell.text = value
    return _saved(document)


def slides(titles: Mapping[str, str], table: Sequence[Sequence[str]] = ()) -> bytes:
    """A presentation of slides with a title, a text and a note, then one with a table."""
    deck = pptx.Presentation()
    for title, text in titles.items():
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
        slide.notes_slide.notes_text_frame.text = f"Note on {title}."
    if table:
        slide = deck.slides.add_slide(deck.slide_layouts[6])
        size = Inches(4)
        cells = slide.shapes.add_table(len(table), len(table[0]), size, size, size, size).table
        for row, values in enumerate(table):
            for column, value in enumerate(values):
                cells.cell(row, column).text = value
    return _saved(deck)


def workbook(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """An Excel file."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    return _saved(book)


def book(chapters: Mapping[str, str], title: str = "A book") -> bytes:
    """An EPUB of XHTML chapters."""
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{title}</dc:title><dc:creator>Ada Quill</dc:creator></metadata>"
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = '<container><rootfiles><rootfile full-path="OEBPS/content.opf"/></rootfiles></container>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/content.opf", package)
        for name, page in chapters.items():
            archive.writestr(f"OEBPS/{name}", page)
    return file.getvalue()


def _saved(document: object) -> bytes:
    file = io.BytesIO()
    document.save(file)  # type: ignore[attr-defined]
    return file.getvalue()


def open_document(body: str, **members: str) -> bytes:
    """A text of OpenDocument with this body; members by their names without the ending .xml."""
    kinds = ("office", "text", "table", "draw")
    names = " ".join(f'xmlns:{kind}="urn:oasis:names:tc:opendocument:xmlns:{kind}:1.0"' for kind in kinds)
    content = f"<office:document-content {names}><office:body>{body}</office:body></office:document-content>"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {"content": content, **members}.items():
            archive.writestr(f"{name}.xml", text)
    return packed.getvalue()
