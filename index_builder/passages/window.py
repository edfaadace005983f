"""Windows of sentences: what is embedded, found and shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from index_builder.documents import Document
from index_builder.passages.sentences import Span, sentence_spans


@dataclass(frozen=True)
class WindowShape:
    """How documents are cut: windows of `sentences` sentences, one starting every `stride` sentences."""

    sentences: int = 3
    stride: int = 3
    language: str = "en"


@dataclass(frozen=True)
class Window:
    """One passage of a document; `[start, end)` are characters of the document's text."""

    passage_id: str
    section: str
    start: int
    end: int
    text: str


def cut_document(document: Document, shape: WindowShape) -> Iterator[Window]:
    """The document's passages in order; none reaches across a heading.

    Line breaks become spaces, so that a passage is one line of the same length as its range.
    """
    offset = 0
    ordinal = 0
    for section in document.sections:
        text = section.text
        for start, end in _window_spans(sentence_spans(text, shape.language), shape):
            passage_id = f"{document.document_id}:{ordinal}"
            yield Window(passage_id, section.heading, offset + start, offset + end, text[start:end].replace("\n", " "))
            ordinal += 1
        offset += len(text) + 1


def _window_spans(sentences: list[Span], shape: WindowShape) -> Iterator[Span]:
    for first in range(0, len(sentences), shape.stride):
        last = min(first + shape.sentences, len(sentences)) - 1
        yield sentences[first][0], sentences[last][1]
        if last == len(sentences) - 1:
            return
