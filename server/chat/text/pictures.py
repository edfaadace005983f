"""Emoji as the words that a reader says for them: `I will 🔪 you`, I will knife you."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path

_WORDS: dict[str, str] = json.loads(Path(__file__).with_name("pictures.json").read_text("utf-8"))
_FIRST_KEY, _LAST_KEY = "\U0001f1e6", "\U0001f1ff"  # two of them are a flag
# What may stand behind an emoji and only tells how it is drawn: selectors, joiners and the colours of skin.
_DRAWN = "\ufe0e\ufe0f\u200d\U0001f3fb-\U0001f3ff"
_ALONE = "".join(sorted(char for char in _WORDS if len(char) == 1))
# Faces say how something is meant, and have no words.
_FACES = "\U0001f600-\U0001f64f\U0001f900-\U0001f93f\U0001f970-\U0001f97f"
_PICTURE = rf"(?:[{re.escape(_ALONE)}{_FACES}]|[{_FIRST_KEY}-{_LAST_KEY}]{{2}})"
_RUN = re.compile(rf"{_PICTURE}(?:[{_DRAWN}]|{_PICTURE})*+")
_LETTER_BEFORE, _LETTER_BEHIND = re.compile(r"(?<![^\W\d_])[^\W\d_]$"), re.compile(r"[^\W\d_](?![^\W\d_])")
_MOST_BLANKS = 8
_MOST_TIMES, _MOST_MORE = 2, 4096  # how many times as long a text may become, and characters more
_EACH = re.compile(_PICTURE)


def spoken(text: str) -> str:
    """`text` with the words for its emoji in their place, once where one is repeated; a face between words is a blank.

    Those between the letters of a word stay, for they only part them. In time linear in the length of `text`; one of
    hardly anything but emoji, page after page, stays as it is, for its words would be many times as long to judge.
    """
    said = text if text.isascii() else _RUN.sub(_words_of, text)
    return said if len(said) <= _MOST_TIMES * len(text) + _MOST_MORE else text


def _words_of(run: re.Match[str]) -> str:
    if _parts_letters(run):
        return run[0]
    words = [word for word, _ in groupby(_WORDS.get(picture, "") for picture in _EACH.findall(run[0])) if word]
    if not words and not _parts_words(run):
        return run[0]
    return f" {' '.join(words)}{'.' * (bool(words) and _begins(run))} "


def _parts_letters(run: re.Match[str]) -> bool:
    """Whether a single letter stands right before and right behind, as in a word whose letters are written apart."""
    return _LETTER_BEFORE.search(run.string, max(0, run.start() - 2), run.start()) is not None and (
        _LETTER_BEHIND.match(run.string, run.end()) is not None
    )


def _parts_words(run: re.Match[str]) -> bool:
    """Whether letters stand right before and right behind."""
    return (
        run.string[max(0, run.start() - 1) : run.start()].isalpha() and run.string[run.end() : run.end() + 1].isalpha()
    )


def _begins(run: re.Match[str]) -> bool:
    """Whether nothing stands before in its line: emoji there stand before a sentence and are no part of it."""
    before = run.string[max(0, run.start() - _MOST_BLANKS) : run.start()].rstrip(" ")
    return not before or before[-1] == "\n"
