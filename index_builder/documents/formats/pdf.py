"""PDF files: one section a page, so that a source can be found again; a sentence that runs on stays whole."""

from __future__ import annotations

import io
import logging
import re
import zlib
from collections import Counter

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

from index_builder.documents.compressed import plain_stem
from index_builder.documents.document import SkippedError
from index_builder.documents.formats.text import read_text
from index_builder.documents.outline import Outline, one_line

# What pypdf raises on files that break the format's rules in ways that it does not foresee.
_BROKEN = (
    PyPdfError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError,
    NotImplementedError, OSError, zlib.error,
)  # fmt: skip
_PROGRAM_TITLE = re.compile(r"^(?:microsoft |untitled|slide \d|powerpoint )|\.\w{2,5}$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*$")
_FIRST_SENTENCE = re.compile(r"\s*([^.!?]{0,600}[.!?]+[\"'”’)\]]*)(?:\s|$)")
_DIGITS = re.compile(r"\d+")
_MIN_REPEATS = 3
_SCANNED_LOOKED_AT = 1000


def read_pdf_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the pages of a PDF as sections, but those that cannot be read; its title, or the file's name without one.

    Raises:
        SkippedError: the file is encrypted, or cannot be read at all.
    """
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every flaw that it mends
    try:
        reader = PdfReader(io.BytesIO(content))
        pages = _page_texts(reader, name, outline)
        _refuse_scanned(reader, pages, name, outline=outline)
        title = one_line(str(reader.metadata.title or "")) if reader.metadata else ""
    except (FileNotDecryptedError, DependencyError) as error:
        raise SkippedError("encrypted PDF", name, str(error)) from error
    except _BROKEN as error:
        raise SkippedError("broken PDF", name, f"{type(error).__name__}: {error}") from error
    for number, text in enumerate(_whole_sentences(_without_repeats(pages)), start=1):
        outline.add_heading(2, f"Page {number}")
        read_text(text, outline)
    return title if title and not _PROGRAM_TITLE.search(title) else plain_stem(name)


def _page_texts(reader: PdfReader, name: str, outline: Outline) -> list[str]:
    texts = []
    for number in range(reader.get_num_pages()):
        try:
            texts.append(reader.pages[number].extract_text().strip())
        except FileNotDecryptedError:
            raise
        except _BROKEN as error:
            detail = f"{type(error).__name__}: {error}"
            outline.leave_out(SkippedError("broken PDF page", f"{name}, page {number + 1}", detail))
            texts.append("")
    return texts


def _refuse_scanned(reader: PdfReader, pages: list[str], name: str, outline: Outline) -> None:
    """Name a file that holds pictures of text only; count such pages among others.

    Raises:
        SkippedError: no page holds text, and some hold pictures.
    """
    empty = [number for number, text in enumerate(pages) if not text]
    scanned = [number for number in empty[:_SCANNED_LOOKED_AT] if _has_picture(reader, number)]
    if len(empty) == len(pages) and scanned:
        raise SkippedError("scanned PDF", name, f"{len(pages)} pages are pictures without text; they need OCR first")
    outline.drop("scanned PDF page", len(scanned))


def _has_picture(reader: PdfReader, number: int) -> bool:
    try:
        objects = reader.pages[number]["/Resources"]["/XObject"]  # type: ignore[index]
        return any(each.get_object().get("/Subtype") in ("/Image", "/Form") for each in objects.values())
    except _BROKEN:
        return False


def _without_repeats(pages: list[str]) -> list[str]:
    """The pages without first and last lines that most of them share, but for numbers: headers and footers."""
    lines = [text.split("\n") for text in pages]
    edges = Counter(edge for page in lines for edge in {_edge(page[0]), _edge(page[-1])})
    repeated = {edge for edge, count in edges.items() if count >= max(_MIN_REPEATS, len(pages) // 2 + 1)}
    found = []
    for page in lines:
        first = _edge(page[0]) in repeated
        last = len(page) > 1 and _edge(page[-1]) in repeated
        found.append("\n".join(page[first : len(page) - last]))
    return found


def _edge(line: str) -> str:
    return _DIGITS.sub("0", line.strip())


def _whole_sentences(pages: list[str]) -> list[str]:
    """The pages, each with the end of the sentence that it begins and the next page ends."""
    found = list(pages)
    for number in range(len(found) - 1):
        here, following = found[number].rstrip(), found[number + 1]
        if not here or _SENTENCE_END.search(here) or not following.lstrip()[:1].islower():
            continue
        if ending := _FIRST_SENTENCE.match(following):
            found[number] = f"{here}\n{ending.group(1)}"
            found[number + 1] = following[ending.end() :]
    return found
