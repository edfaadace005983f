"""Documents that are a file each: text, Markdown, HTML, PDF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from index_builder.documents.document import Document, SkippedError
from index_builder.documents.formats.html_page import read_html_file
from index_builder.documents.formats.markdown import read_markdown_file
from index_builder.documents.formats.pdf import read_pdf_file
from index_builder.documents.formats.plain_text import decoded, read_text
from index_builder.documents.outline import Outline

Reader = Callable[[bytes, str, Outline], str]
"""Adds the content of the named file to an outline; answers the title that the file says it has."""


@dataclass(frozen=True)
class RawFile:
    """A file that is one document; `name` is its path within the source, with slashes."""

    path: Path
    name: str


@dataclass(frozen=True)
class _Kind:
    read: Reader
    max_bytes: int


def _read_text_file(content: bytes, name: str, outline: Outline) -> str:
    read_text(decoded(content, name), outline)
    return ""


_TEXT = _Kind(_read_text_file, 32 << 20)
_MARKDOWN = _Kind(read_markdown_file, 32 << 20)
_HTML = _Kind(read_html_file, 32 << 20)
_PDF = _Kind(read_pdf_file, 256 << 20)
KINDS = {
    ".txt": _TEXT, ".text": _TEXT, ".md": _MARKDOWN, ".markdown": _MARKDOWN, ".html": _HTML, ".htm": _HTML,
    ".xhtml": _HTML, ".pdf": _PDF,
}  # fmt: skip


def parse_file(file: RawFile) -> Document:
    """The file's document; its id is its name.

    Raises:
        SkippedError: it cannot be read, is too large, or holds no prose.
    """
    kind = KINDS[file.path.suffix.lower()]
    try:
        num_bytes = file.path.stat().st_size
        if num_bytes > kind.max_bytes:
            limit = f"{num_bytes} bytes, at most {kind.max_bytes} are read"
            raise SkippedError("file over the size limit", file.name, limit)
        content = file.path.read_bytes()
    except OSError as error:
        raise SkippedError("unreadable file", file.name, str(error)) from error
    outline = Outline()
    title = kind.read(content, file.name, outline)
    return outline.document(file.name, title, quote(file.name), otherwise=file.path.stem)
