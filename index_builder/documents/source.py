"""From what a user names to documents: a path, a folder of dumps, or the sample that the demo extra carries."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from index_builder.documents.document import Document, ReadReport
from index_builder.documents.mediawiki import read_dump

SAMPLE = "sample"
_SAMPLE_FILE = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


class SourceError(ValueError):
    """A source that cannot be read; the sentence names it and what is legal."""


def open_source(source: str) -> Path:
    """The file or folder that `source` names; "sample" is the Wikipedia dump of the `demo` extra.

    Raises:
        SourceError: there is nothing there.
    """
    path = _sample_dump() if source == SAMPLE else Path(source)
    if not path.exists():
        raise SourceError(f"--source {source!r}: no such file or folder; legal are a path or {SAMPLE!r}.")
    return path


def read_documents(source: str, report: ReadReport | None = None) -> Iterator[Document]:
    """The documents of `source` in order, one at a time; what gives none is counted in `report`."""
    yield from read_dump(open_source(source), report if report is not None else ReadReport())


def _sample_dump() -> Path:
    spec = importlib.util.find_spec("gensim")
    if spec is None or spec.origin is None:
        raise SourceError("--source 'sample' needs the sample dump: install the extra with pip install '.[demo]'.")
    return Path(spec.origin).parent / _SAMPLE_FILE
