"""From what a user names to documents: a dump, a folder, a table, or the sample that the demo extra carries."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from index_builder.documents.columns import USUAL_COLUMNS, Columns
from index_builder.documents.document import Document, ReadReport, SkippedError, note_skipped
from index_builder.documents.mediawiki import DumpSource

SAMPLE = "sample"
_SAMPLE_FILE = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_EDGE_BYTES = 1 << 20


class SourceError(ValueError):
    """A source that cannot be read; the sentence names it and what is legal."""


class Source(Protocol):
    """Documents in two steps: `items` is cheap and runs in one process, `document` is not and may run in many."""

    @property
    def files(self) -> list[Path]:
        """What is read, in order."""
        ...

    def items(self, report: ReadReport) -> Iterator[object]:
        """Raw items in order, the same on every run; picklable."""
        ...

    def document(self, item: object) -> Document:
        """The document of one item.

        Raises:
            SkippedError: the item gives none.
        """
        ...


def open_source(name: str, columns: Columns = USUAL_COLUMNS) -> Source:
    """The source that `name` names; "sample" is the Wikipedia dump of the `demo` extra.

    Raises:
        SourceError: there is nothing there, or nothing that can be read.
    """
    path = _sample_dump() if name == SAMPLE else Path(name).expanduser()
    if not path.exists():
        raise SourceError(f"--source {name!r}: no such file or folder; legal are a path or {SAMPLE!r}.")
    return DumpSource([path])


def read_documents(name: str, report: ReadReport | None = None) -> Iterator[Document]:
    """The documents of the source `name` in order, one at a time; what gives none is counted in `report`.

    Raises:
        SourceError: see `open_source`.
    """
    report = report if report is not None else ReadReport()
    source = open_source(name)
    for item in source.items(report):
        try:
            document = source.document(item)
        except SkippedError as skipped:
            note_skipped(report, skipped)
            continue
        report.num_documents += 1
        yield document


def source_fingerprint(source: Source) -> str:
    """Changes with the names, sizes, beginnings and ends of the source's files; cheap for any size."""
    digest = hashlib.sha256()
    for path in source.files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()


def source_bytes(source: Source) -> int:
    """How many bytes there are to read."""
    return sum(path.stat().st_size for path in source.files)


def _sample_dump() -> Path:
    spec = importlib.util.find_spec("gensim")
    if spec is None or spec.origin is None:
        raise SourceError("--source 'sample' needs the sample dump: install the extra with pip install '.[demo]'.")
    return Path(spec.origin).parent / _SAMPLE_FILE
