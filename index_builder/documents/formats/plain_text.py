"""Plain text, cut into paragraphs."""

from __future__ import annotations

import re

from index_builder.documents.outline import Outline

_BLANK_LINES = re.compile(r"\n\s*\n|\f")
_LINE_BREAKS = re.compile(r"\r\n?|\u2028|\u2029|\x85|\v")
_LIST_ITEM = re.compile(r"\s*(?:[-*•–‣·]|\d{1,3}[.)])\s")
_WRAPPED_CHARS = 40  # a shorter line was ended by its writer, a longer one may have been ended by the margin


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
