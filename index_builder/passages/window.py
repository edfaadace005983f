"""Sentence boundaries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import sentencex

from index_builder.documents import Document

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


@dataclass(frozen=True)
class WindowShape:
    """How documents are cut: windows of `sentences` sentences, one starting every `stride` sentences."""

    sentences: int = 3
    stride: int = 3
    language: str = "en"


@dataclass(frozen=True)
class Window:
    """One passage of a document; `[start, end)` are characters of the document's text, `sentences` of its own text."""

    passage_id: str
    section: str
    start: int
    end: int
    text: str
    sentences: tuple[Span, ...]


def cut_document(document: Document, shape: WindowShape) -> Iterator[Window]:
    """The document's passages in order; none reaches across a heading.

    Line breaks become spaces, so that a passage is one line of the same length as its range.
    """
    offset = 0
    ordinal = 0
    for section in document.sections:
        text = section.text
        for spans in _windows(sentence_spans(text, shape.language), shape):
            start, end = spans[0][0], spans[-1][1]
            yield Window(
                passage_id=f"{document.document_id}:{ordinal}",
                section=section.heading,
                start=offset + start,
                end=offset + end,
                text=text[start:end].replace("\n", " "),
                sentences=tuple((first - start, last - start) for first, last in spans),
            )
            ordinal += 1
        offset += len(text) + 1


def _windows(sentences: list[Span], shape: WindowShape) -> Iterator[list[Span]]:
    """Windows over one section; the last one reaches back over its neighbour rather than being short, since a lone
    sentence says too little to be found or to answer.
    """
    first = 0
    while first + shape.sentences < len(sentences):
        yield sentences[first : first + shape.sentences]
        first += shape.stride
    if sentences:
        yield sentences[max(0, len(sentences) - shape.sentences) :]
