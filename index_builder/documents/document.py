"""What every source is turned into: documents of sections of paragraphs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


class SkippedError(Exception):
    """A page or file that gives no document; `cause` is counted in the report."""

    def __init__(self, cause: str, name: str, detail: str = "") -> None:
        super().__init__(cause, name, detail)
        self.cause = cause
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        """The sentence that a person reads."""
        return f"{self.name}: {self.cause}" + (f" ({self.detail})" if self.detail else "")


def broken_document(name: str, error: Exception) -> SkippedError:
    """What a document is skipped for whose reading raised an error that no format foresees."""
    return SkippedError("broken document", name, f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Section:
    """The prose under one heading; the lead section's heading is empty.

    Attributes:
        heading: the path of headings down to this one, joined by " > ".
        paragraphs: plain text, one paragraph or list item each, without line breaks.
    """

    heading: str
    paragraphs: tuple[str, ...]

    @property
    def text(self) -> str:
        """The paragraphs, one a line."""
        return "\n".join(self.paragraphs)


@dataclass(frozen=True)
class Document:
    """One article, file or record.

    Attributes:
        document_id: the same on every run.
        left_out: parts of it that could not be read, to be counted and named.
        dropped: how many parts of which kind hold no text and were left out: images, navigation...
        fields: what is known of it beside its text, by which a search may be filtered: name → values.
    """

    document_id: str
    title: str
    url: str
    sections: tuple[Section, ...]
    left_out: tuple[SkippedError, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All sections' text, headings left out."""
        return "\n".join(section.text for section in self.sections)


@dataclass
class ReadReport:
    """How much was read and what was left out, by cause; `examples` names at most 20 of each cause."""

    num_documents: int = 0
    source_bytes: int = 0  # as stored, compressed or not
    markup_bytes: int = 0  # after decompression
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, cause: str, name: str) -> None:
        """Count one page or file that gives no document."""
        self.skipped[cause] += 1
        names = self.examples.setdefault(cause, [])
        if len(names) < 20:
            names.append(name)

    def add(self, other: ReadReport) -> None:
        """Add another report's counts to this one's."""
        self.num_documents += other.num_documents
        self.source_bytes += other.source_bytes
        self.markup_bytes += other.markup_bytes
        self.skipped.update(other.skipped)
        for cause, names in other.examples.items():
            mine = self.examples.setdefault(cause, [])
            mine.extend(names[: 20 - len(mine)])


def note_document(report: ReadReport, document: Document) -> None:
    """Count a document, and what of it was left out, by kind."""
    report.num_documents += 1
    for part in document.left_out:
        note_skipped(report, part)
    for kind, count in document.dropped.items():
        report.skipped[f"part of a document: {kind}"] += count


def note_skipped(report: ReadReport, skipped: SkippedError) -> None:
    """Count a page that gives no document; the broken ones are logged with their title."""
    report.skip(skipped.cause, skipped.name)
    if skipped.detail:
        log.warning("page.skipped title=%r cause=%s detail=%s", skipped.name, skipped.cause, skipped.detail)
