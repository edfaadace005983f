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
