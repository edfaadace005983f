"""From what a user names to documents: a dump, a folder, a table, or the sample that the demo extra carries."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from index_builder.documents.document import (
    Document,
    ReadReport,
    SkippedError,
    broken_document,
    note_document,
    note_skipped,
)
from index_builder.documents.file_source import LEGAL, FileSource, file_bytes, folder_source, kind_suffix
from index_builder.documents.records import USUAL_COLUMNS, ColumnError, Columns
from server.artifacts.error import ArtifactError

SAMPLE = "sample"
_SAMPLE_FILE = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_FETCHED = "index-builds/sources"  # below the current folder: what lies in S3 may be large
_EDGE_BYTES = 1 << 20


class SourceError(ValueError):
    """A source that cannot be read; the sentence names it and what is legal."""


class Source(Protocol):
    """Documents in two steps: `items` is cheap and runs in one process, `document` is not and may run in many."""

    @property
    def files(self) -> list[Path]:
        """What is read, in order."""
        ...

    @property
    def columns(self) -> Columns:
        """Which columns of tables are read."""
        ...

    def name(self, path: Path) -> str:
        """The name of one of the files within the source."""
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

    def item_digest(self, item: object) -> bytes:
        """16 bytes that an item is known by, as long as nothing in it changes."""
        ...

    def is_risky(self, item: object) -> bool:
        """Whether nobody can promise how long reading an item takes, and how much memory."""
        ...

    def item_bytes(self, item: object) -> int:
        """The size of a risky item, as it is stored."""
        ...

    def item_name(self, item: object) -> str:
        """What a person finds an item by: a page's title, a row's table and number, a file's name."""
        ...


def open_source(name: str, columns: Columns = USUAL_COLUMNS) -> FileSource:
    """The source that `name` names; "sample" is the Wikipedia dump of the `demo` extra. One in S3 is fetched first.

    Raises:
        SourceError: there is nothing there, nothing that can be read, or a table lacks a column.
    """
    path = local_source(name)
    if not path.exists():
        raise SourceError(f"--source {name!r}: no such file or folder; legal are {LEGAL}, and {SAMPLE!r}.")
    source = folder_source(path, columns) if path.is_dir() else FileSource(path.parent, (path,), columns)
    if not source.paths:
        raise SourceError(f"--source {name!r}: a folder without any file that can be read; legal are {LEGAL}.")
    if not kind_suffix(source.paths[0]):
        raise SourceError(f"--source {name!r}: a file of a kind that cannot be read; legal are {LEGAL}.")
    try:
        source.check()
    except ColumnError as error:
        raise SourceError(f"--source {name!r}: {error}") from error
    return source


def local_source(name: str) -> Path:
    """Where a source lies on this machine. One in S3, an object or all below a prefix, is fetched below the current
    folder unless it is there; a fetch that broke off goes on.

    Raises:
        SourceError: it cannot be fetched.
    """
    if name == SAMPLE:
        return _sample_dump()
    return _fetched(name) if name.startswith("s3://") else Path(name).expanduser()


def forget_fetched(name: str) -> None:
    """Delete what was fetched of a source in S3."""
    if name.startswith("s3://"):
        shutil.rmtree(_staging(name), ignore_errors=True)


def _staging(uri: str) -> Path:
    return Path(_FETCHED).absolute() / hashlib.sha256(uri.encode()).hexdigest()[:12]


def _fetched(uri: str) -> Path:
    from server.artifacts.fetch import fetch_prefix

    above, _, last = uri.rstrip("/").rpartition("/")
    is_object = not uri.endswith("/") and bool(kind_suffix(Path(last)))
    folder = _staging(uri) / ("object" if is_object else last)
    try:
        fetch_prefix(above if is_object else uri, folder, keep=(lambda each: each == last) if is_object else bool)
    except ArtifactError as error:
        raise SourceError(f"--source {uri!r}: {error}") from error
    return folder / last if is_object else folder


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
        except Exception as error:  # noqa: BLE001 - a document costs itself only, whatever is wrong with it
            note_skipped(report, broken_document(source.item_name(item), error))
            continue
        note_document(report, document)
        yield document


def source_fingerprint(source: Source) -> str:
    """Changes with the columns, and the names, sizes, beginnings and ends of the source's files."""
    return files_fingerprint({source.name(path): path for path in source.files}, repr(source.columns))


def files_fingerprint(files: Mapping[str, Path], settings: str) -> str:
    """Changes with the settings, and the names, sizes, beginnings and ends of files; cheap for any size."""
    digest = hashlib.sha256(settings.encode())
    for name, path in files.items():
        size = file_bytes(path)
        digest.update(f"{name}:{size}:".encode())
        digest.update(_edges(path, size))
    return digest.hexdigest()


def source_bytes(source: Source) -> int:
    """How many bytes there are to read."""
    return sum(file_bytes(path) for path in source.files)


def _edges(path: Path, size: int) -> bytes:
    """The first and last MiB of a file; a file that cannot be read is counted when its turn comes, not here."""
    try:
        with path.open("rb") as file:
            first = file.read(_EDGE_BYTES)
            file.seek(max(0, size - _EDGE_BYTES))
            return first + file.read(_EDGE_BYTES)
    except OSError:
        return b"unreadable"


def _sample_dump() -> Path:
    spec = importlib.util.find_spec("gensim")
    if spec is None or spec.origin is None:
        raise SourceError("--source 'sample' needs the sample dump: install the extra with pip install '.[demo]'.")
    return Path(spec.origin).parent / _SAMPLE_FILE
