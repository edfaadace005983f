"""Sentence boundaries."""

from __future__ import annotations

import re
from itertools import pairwise

import sentencex

MAX_SENTENCE_CHARS = 1000  # longer ones (lists without stops, tables left over) are cut at a space

# Abbreviations that the segmenter takes for a sentence's end although a number or a name goes on.
_GOES_ON = re.compile(
    r"(?:^|[\s(])(?:approx|ca|c|deg|vol|vols|fig|figs|eq|pp|no|nos|op|ch|sec|art|ed|eds|cf|viz|fl|r|lit|est|max|min)\.$",
    re.IGNORECASE,
)
_TITLE_BEFORE_NAME = re.compile(
    r"\b(?:Gov|Sen|Rep|Lt|Sgt|Maj|Cpt|Capt|Cmdr|Adm|Brig|Gen|Col|Hon|Rev|Prof|Fr|Mt|Ft|Ste?)\.$"
)
_CONTINUES = re.compile(r"[\d(a-zà-ÿ]")
_WORD = re.compile(r"\w")

Span = tuple[int, int]


def split_sentences(text: str, language: str = "en") -> list[str]:
    """The sentences of `text` in order, stripped, none empty; a line break ends a sentence."""
    return [text[start:end] for start, end in sentence_spans(text, language)]


def sentence_spans(text: str, language: str = "en") -> list[Span]:
    """Half-open character ranges of the sentences of `text`, white space around them left out."""
    spans: list[Span] = []
    line_start = 0
    for line in text.split("\n"):
        for span in _line_spans(line, language):
            spans.extend(_cut_long(text, line_start + span[0], line_start + span[1]))
        line_start += len(line) + 1
    return spans


def _line_spans(line: str, language: str) -> list[Span]:
    spans: list[Span] = []
    position = 0
    for piece in sentencex.segment(language, line):
        start = position + len(piece) - len(piece.lstrip())
        end = position + len(piece.rstrip())
        position += len(piece)
        if start >= end:
            continue
        if spans and _belongs_together(line[spans[-1][0] : spans[-1][1]], line[start:end]):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _belongs_together(previous: str, sentence: str) -> bool:
    if not _WORD.search(sentence):  # a stray quote or bracket
        return True
    tail = previous[-20:]
    return bool(_TITLE_BEFORE_NAME.search(tail) or (_GOES_ON.search(tail) and _CONTINUES.match(sentence)))


def _cut_long(text: str, start: int, end: int) -> list[Span]:
    cuts = [start]
    while end - cuts[-1] > MAX_SENTENCE_CHARS:
        space = text.rfind(" ", cuts[-1] + 1, cuts[-1] + MAX_SENTENCE_CHARS)
        cuts.append(space + 1 if space > 0 else cuts[-1] + MAX_SENTENCE_CHARS)
    cuts.append(end)
    return [(first, last - (text[last - 1] == " ")) for first, last in pairwise(cuts)]
