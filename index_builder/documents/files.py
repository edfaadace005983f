"""Documents that are a file each, by the ending of their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from index_builder.documents.compressed import COMPRESSED, plain_stem, whole_content
from index_builder.documents.document import Document, SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.data import (
    read_csv_file,
    read_json_file,
    read_json_lines_file,
    read_notebook_file,
    read_xlsx_file,
    read_xml_file,
)
from index_builder.documents.formats.html_page import read_epub_file, read_html_file
from index_builder.documents.formats.mail import read_mail_file
from index_builder.documents.formats.markup import read_adoc_file, read_rst_file
from index_builder.documents.formats.office import read_docx_file, read_open_document, read_pptx_file
from index_builder.documents.formats.pdf import read_pdf_file
from index_builder.documents.formats.text import read_markdown_file, read_rtf_file, read_text
from index_builder.documents.outline import Outline

Reader = Callable[[bytes, str, Outline], str]
"""Adds the content of the named file to an outline; answers the title that the file says it has."""


@dataclass(frozen=True)
class RawFile:
    """A file that is one document.

    Attributes:
        name: its path within the source, with slashes.
        content: of a file within an archive, which has no path of its own.
    """

    path: Path
    name: str
    content: bytes | None = None


@dataclass(frozen=True)
class _Kind:
    read: Reader
    max_bytes: int


def _read_text_file(content: bytes, name: str, outline: Outline) -> str:
    read_text(decoded(content, name), outline)
    return ""


def _read_attachment(content: bytes, label: str, outline: Outline) -> bool:
    """Add a file that is part of another document; False when its name tells of no kind that is read."""
    kind = KINDS.get(file_kind(label))
    if kind is None or kind.max_bytes < len(content):
        return False
    kind.read(whole_content(content, label, kind.max_bytes), label, outline)
    return True


_TEXT = _Kind(_read_text_file, 32 << 20)
_MARKDOWN = _Kind(read_markdown_file, 32 << 20)
_HTML = _Kind(read_html_file, 32 << 20)
_PDF = _Kind(read_pdf_file, 256 << 20)
_TABLE = _Kind(read_csv_file, 64 << 20)
_MAIL = _Kind(partial(read_mail_file, read_attachment=_read_attachment), 64 << 20)
_OFFICE_BYTES = 128 << 20
KINDS = {
    **dict.fromkeys((".txt", ".text"), _TEXT),
    **dict.fromkeys((".md", ".markdown", ".mdx"), _MARKDOWN),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _HTML),
    ".pdf": _PDF,
    **dict.fromkeys((".csv", ".tsv", ".tab"), _TABLE),
    **dict.fromkeys((".docx", ".docm"), _Kind(read_docx_file, _OFFICE_BYTES)),
    **dict.fromkeys((".pptx", ".pptm"), _Kind(read_pptx_file, _OFFICE_BYTES)),
    **dict.fromkeys((".xlsx", ".xlsm"), _Kind(read_xlsx_file, _OFFICE_BYTES)),
    **dict.fromkeys((".odt", ".ods", ".odp", ".ott"), _Kind(read_open_document, _OFFICE_BYTES)),
    ".epub": _Kind(read_epub_file, _OFFICE_BYTES),
    **dict.fromkeys((".eml", ".mht", ".mhtml"), _MAIL),
    ".rtf": _Kind(read_rtf_file, 64 << 20),
    ".xml": _Kind(read_xml_file, 32 << 20),
    **dict.fromkeys((".jsonl", ".ndjson"), _Kind(read_json_lines_file, 64 << 20)),
    ".json": _Kind(read_json_file, 32 << 20),
    ".ipynb": _Kind(read_notebook_file, 64 << 20),
    **dict.fromkeys((".rst", ".rest"), _Kind(read_rst_file, 8 << 20)),
    **dict.fromkeys((".adoc", ".asciidoc", ".asc"), _Kind(read_adoc_file, 32 << 20)),
}


def file_kind(name: str) -> str:
    """The ending that tells how a file is read, the one before .gz and its like; "" when none does."""
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix
    return suffix if suffix in KINDS else ""


def parse_file(file: RawFile) -> Document:
    """The file's document; its id is its name.

    Raises:
        SkippedError: it cannot be read, is too large, or holds no prose.
    """
    kind = KINDS[file_kind(file.path.name if file.content is None else file.name)]
    outline = Outline()
    title = kind.read(_content(file, kind), file.name, outline)
    return outline.document(file.name, title, quote(file.name), otherwise=plain_stem(file.name))


def max_file_bytes(name: str) -> int:
    """How large a file of this name may be."""
    return KINDS[file_kind(name)].max_bytes


def _content(file: RawFile, kind: _Kind) -> bytes:
    content = file.content
    if content is None:
        try:
            num_bytes = file.path.stat().st_size
            if num_bytes > kind.max_bytes:
                limit = f"{num_bytes} bytes, at most {kind.max_bytes} are read"
                raise SkippedError("file over the size limit", file.name, limit)
            content = file.path.read_bytes()
        except OSError as error:
            raise SkippedError("unreadable file", file.name, str(error)) from error
    return whole_content(content, file.name, kind.max_bytes)
