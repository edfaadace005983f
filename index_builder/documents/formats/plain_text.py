"""Plain text: decoded, and cut into paragraphs."""

from __future__ import annotations

import codecs
import re

from index_builder.documents.document import SkippedError
from index_builder.documents.outline import Outline

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_BLANK_LINES = re.compile(r"\n\s*\n|\f")
_LINE_BREAKS = re.compile(r"\r\n?|\u2028|\u2029|\x85|\v")
_LIST_ITEM = re.compile(r"\s*(?:[-*•–‣·]|\d{1,3}[.)])\s")
_WRAPPED_CHARS = 40  # a shorter line was ended by its writer, a longer one may have been ended by the margin


def decoded(content: bytes, name: str, encoding: str = "utf-8") -> str:
    """`content` as text: by its byte-order mark if it has one, else by `encoding`.

    Raises:
        SkippedError: the bytes are no text of that encoding.
    """
    encoding = next((known for bom, known in _BOMS.items() if content.startswith(bom)), encoding)
    try:
        text = content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise SkippedError("no text of a known encoding", name, str(error)) from error
    if "\0" in text:
        raise SkippedError("no text of a known encoding", name, "it holds NUL characters")
    return text


def read_text(text: str, outline: Outline) -> None:
    """Add the paragraphs of plain text; lines that a margin has broken are joined again."""
    for block in _BLANK_LINES.split(_LINE_BREAKS.sub("\n", text)):
        for paragraph in _paragraphs(block.split("\n")):
            outline.add_paragraph(paragraph)


def _paragraphs(lines: list[str]) -> list[str]:
    found: list[list[str]] = []  # pieces of each paragraph
    previous = ""
    for line in (each.strip() for each in lines):
        goes_on = len(previous) >= _WRAPPED_CHARS or line[:1].islower()
        if found and previous and goes_on and not _LIST_ITEM.match(line):
            _append(found[-1], line)
        else:
            found.append([line])
        previous = line
    return ["".join(pieces) for pieces in found]


def _append(pieces: list[str], line: str) -> None:
    last = pieces[-1]
    if last.endswith("-") and last[-2:-1].isalpha() and line[:1].islower():
        pieces[-1] = last[:-1]  # a word that the margin has cut
    else:
        pieces.append(" ")
    pieces.append(line)
