"""PDF files: one section a page, so that a source can be found again; a sentence that runs on stays whole."""

from __future__ import annotations

import io
import logging
import re
import zlib
from collections import Counter
from itertools import pairwise
from statistics import median

from pypdf import PageObject, PdfReader
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
_SHOWS = (b"Tj", b"TJ", b"'", b'"')
_ROW = re.compile(r"^(\s*\S(?:(?! {3}).){0,300} {3,})(\S(?:(?! {3}).){0,300})$")  # a line in two columns
_NEAR = 2  # characters by which lines of a column begin apart
_MIN_ROWS, _MIN_COLUMN_CHARS = 8, 20
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
            texts.append(_page_text(reader.pages[number]).strip())
        except FileNotDecryptedError:
            raise
        except _BROKEN as error:
            detail = f"{type(error).__name__}: {error}"
            outline.leave_out(SkippedError("broken PDF page", f"{name}, page {number + 1}", detail))
            texts.append("")
    return texts


def _page_text(page: PageObject) -> str:
    """The text in the order of the file; column by column where the file goes over two of them line by line."""
    starts: list[tuple[float, float]] = []  # (y, x) of everything shown, in order

    def note(operator: bytes, _: object, placed: list[float], text: list[float]) -> None:
        if operator in _SHOWS:
            x, y = text[4], text[5]
            starts.append(
                (x * placed[1] + y * placed[3] + placed[5], x * placed[0] + y * placed[2] + placed[4]),
            )

    plain = page.extract_text(visitor_operand_before=note)
    if _num_crossed(starts, float(page.mediabox.left) + float(page.mediabox.width) / 2) < _MIN_ROWS:
        return plain
    try:
        return _by_columns(page.extract_text(extraction_mode="layout").split("\n")) or plain
    except _BROKEN:
        return plain


def _num_crossed(starts: list[tuple[float, float]], middle: float) -> int:
    """How many lines the file goes on with in the other half of the page."""
    pairs = pairwise(starts)
    return sum(abs(before[0] - after[0]) < 1 and before[1] < middle <= after[1] for before, after in pairs)


def _by_columns(lines: list[str]) -> str:
    """The text of a page that is laid out in characters, its left column before its right one; "" when it has no two
    columns of sentences: cells of a table are shorter, and are read row by row.
    """
    rows = [row for line in lines if (row := _ROW.match(line))]
    starts = Counter(row.start(2) for row in rows)
    gutter = max(starts, key=lambda start: sum(starts[near] for near in range(start - 2, start + 3)), default=0)
    rows = [row for row in rows if abs(row.start(2) - gutter) <= _NEAR]
    widths = [median(len(row[side].strip()) for row in rows) if rows else 0 for side in (1, 2)]
    if len(rows) < _MIN_ROWS or min(widths) < _MIN_COLUMN_CHARS:
        return ""
    found: list[str] = []
    left: list[str] = []
    right: list[str] = []
    for line in lines:
        before, between, after = line[: gutter - _NEAR], line[gutter - _NEAR : gutter], line[gutter:]
        if before.strip() and after.strip() and between.strip() and not _ROW.match(line):
            found += [*left, *right, line.strip()]  # over the whole width: what is above is read before
            left, right = [], []
            continue
        cut = gutter - _NEAR if between.startswith(" ") else gutter
        left += [line[:cut].strip()] if line[:cut].strip() else []
        right += [line[cut:].strip()] if line[cut:].strip() else []
    return "\n".join([*found, *left, *right])


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
