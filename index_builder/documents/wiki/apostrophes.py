"""Bold and italic: which apostrophes are marks and which belong to the text, by MediaWiki's own rules."""

from __future__ import annotations

import re

_MARKS = re.compile(r"('{2,})")


def without_marks(text: str) -> str:
    """`text` without the marks of bold and italic; apostrophes beside them stay."""
    if "''" not in text:
        return text
    return "\n".join(_line(line) if "''" in line else line for line in text.split("\n"))


def _line(line: str) -> str:
    pieces = _MARKS.split(line)
    lengths = []
    for number in range(1, len(pieces), 2):
        length = len(pieces[number])
        literal = 1 if length == 4 else max(0, length - 5)
        pieces[number - 1] += "'" * literal
        lengths.append(length - literal)
    bold = sum(length in (3, 5) for length in lengths)
    italic = sum(length in (2, 5) for length in lengths)
    if bold % 2 and italic % 2:
        _give_one_back(pieces, lengths)
    return "".join(pieces[::2])


def _give_one_back(pieces: list[str], lengths: list[int]) -> None:
    """Marks that do not pair: one bold mark is an apostrophe and an italic one, best behind a word of one letter."""
    letter = word = space = None
    for number, length in enumerate(lengths):
        if length != 3:
            continue
        before = pieces[2 * number]
        if before[-1:] == " " or not before:
            space = number if space is None else space
        elif before[-2:-1] == " ":
            letter = number
            break
        elif word is None:
            word = number
    chosen = next((number for number in (letter, word, space) if number is not None), None)
    if chosen is not None:
        pieces[2 * chosen] += "'"
