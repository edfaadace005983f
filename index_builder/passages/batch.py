"""The unit of parsing: a fixed run of items in, their passages out, and the documents known to fail, which are not
tried again. Plain functions, so any cluster can run them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa

from index_builder.documents import Document, ReadReport
from index_builder.documents.document import SkippedError, broken_document, note_document, note_skipped
from index_builder.documents.source import Source
from index_builder.passages.window import WindowShape, cut_document
from index_builder.processes import Budget, Call, LimitError, watched
from index_builder.work_folder import made_by, write_whole
from server.retrieval.index.lexical_index import OPENING, SENTENCE
from server.retrieval.index.passage_table import SCHEMA
from server.retrieval.index.terms import TermReader


class Failure(msgspec.Struct, frozen=True):
    """One document: what it is known by, why it is left out, and the code that could not read it."""

    digest: str
    name: str
    cause: str
    detail: str
    made_by: str

    @classmethod
    def of(cls, digest: bytes, skipped: SkippedError) -> Failure:
        """A document that has just failed."""
        return cls(digest.hex(), skipped.name, skipped.cause, detail=skipped.detail, made_by=made_by())

    @property
    def skipped(self) -> SkippedError:
        """What it is skipped for, as when it was tried."""
        return SkippedError(self.cause, self.name, self.detail)


def read_failures(path: Path | None) -> dict[str, Failure]:
    """The failures in a file, by digest, in order; none of other code, which may read them, nor of a torn last line."""
    found: dict[str, Failure] = {}
    if path is None or not path.exists():
        return found
    for line in path.read_bytes().splitlines():
        try:
            failure = msgspec.json.decode(line, type=Failure)
        except msgspec.MsgspecError:
            continue
        if failure.made_by == made_by():
            found.setdefault(failure.digest, failure)
    return found


def append_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Add to a file, on disk when this returns: a run that is killed later knows them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.writelines(msgspec.json.encode(failure) + b"\n" for failure in failures)
        file.flush()
        os.fsync(file.fileno())


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Write a file of these alone; none for none."""
    lines = b"".join(msgspec.json.encode(failure) + b"\n" for failure in failures)
    if lines:
        write_whole(path, lambda draft: draft.write_bytes(lines))


BATCH_ITEMS = 16
_SECONDS = 5.0  # of a core, for a file and for each MiB of it
_MEMORY_BYTES = 500 << 20
# A shard holds what the index will: the passages, the words of each, and what its document is known by.
SHARD_SCHEMA = SCHEMA.append(pa.field("terms", pa.list_(pa.uint32()))).append(pa.field("digest", pa.binary(16)))


@dataclass(frozen=True)
class ItemBatch:
    """Raw items `[first_item, first_item + len(items))` of a source."""

    first_item: int
    items: tuple[object, ...]


@dataclass(frozen=True)
class PassageBatch:
    """The passages of one ItemBatch; `documents` says how many rows each document has, in order."""

    next_item: int
    rows: pa.RecordBatch
    documents: tuple[tuple[str, int], ...]
    report: ReadReport
    failures: tuple[Failure, ...] = ()  # documents that took too much, now or when they were tried before


def item_batches(items: Iterable[object], first_item: int) -> Iterator[ItemBatch]:
    """Batches of items from `first_item` on; the earlier ones are read over."""
    iterator = iter(items)
    next(islice(iterator, first_item, first_item), None)
    while batch := tuple(islice(iterator, BATCH_ITEMS)):
        yield ItemBatch(first_item, batch)
        first_item += len(batch)


@dataclass(frozen=True)
class CutDocument:
    """A document, whose sections are gone, and the rows of its passages."""

    document: Document
    rows: list[dict[str, object]]


class _FailedError(Exception):
    """A document that took too much whenever it was tried."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(frozen=True)
class BatchCutter:
    """Cuts the documents of a batch into passages, but for those known to fail; callable in any process."""

    source: Source
    shape: WindowShape
    known_failures: Mapping[str, Failure] = field(default_factory=dict)

    def __call__(self, batch: ItemBatch) -> PassageBatch:
        """The batch's passages, and what was left out."""
        report = ReadReport()
        rows: list[dict[str, object]] = []
        documents: list[tuple[str, int]] = []
        failures: list[Failure] = []
        for item in batch.items:
            try:
                found = self._cut(item)
            except SkippedError as skipped:
                note_skipped(report, skipped)
                continue
            except _FailedError as error:
                failures.append(error.failure)
                note_skipped(report, error.failure.skipped)
                continue
            except Exception as error:  # noqa: BLE001 - a document costs itself only, whatever is wrong with it
                note_skipped(report, broken_document(self.source.item_name(item), error))
                continue
            note_document(report, found.document)
            documents.append((found.document.document_id, len(found.rows)))
            rows.extend(found.rows)
        next_item = batch.first_item + len(batch.items)
        return PassageBatch(
            next_item,
            pa.RecordBatch.from_pylist(rows, schema=SHARD_SCHEMA),
            tuple(documents),
            report=report,
            failures=tuple(failures),
        )

    def _cut(self, item: object) -> CutDocument:
        """The passages of one item; one that is risky is read by a process that is watched."""
        wanted = (self.source, self.shape, item)
        if not self.source.is_risky(item):
            return cut_item(wanted)
        if self.known_failures and (known := self.known_failures.get(self.source.item_digest(item).hex())):
            raise _FailedError(known)
        try:
            return watched(Call(cut_item, wanted), _budget(self.source.item_bytes(item)))
        except LimitError as error:
            skipped = SkippedError(error.cause, self.source.item_name(item), error.detail)
            raise _FailedError(Failure.of(self.source.item_digest(item), skipped)) from error


def term_row(reader: TermReader, title: str, sentences: Iterable[str], opens: bool) -> list[int]:
    """A passage's words as the lexical index keeps them: its title's, then each sentence's behind a mark."""
    marked = (term for sentence in sentences for term in (SENTENCE, *reader.terms(sentence)))
    return [*([OPENING] if opens else []), *reader.terms(title), *marked]


def cut_item(wanted: tuple[Source, WindowShape, object]) -> CutDocument:
    """A document without its text, and its passages.

    Raises:
        SkippedError: the item gives no document.
    """
    source, shape, item = wanted
    document = source.document(item)
    known_by = {"digest": source.item_digest(item), "fields": _encoded(document.fields)}
    rows = [row | known_by for row in _rows(document, shape, _term_reader(shape.language))]
    return CutDocument(replace(document, sections=()), rows)


def _budget(num_bytes: int) -> Budget:
    """What a file of this size may take to be read."""
    return Budget(_SECONDS + _SECONDS * num_bytes / (1 << 20), _MEMORY_BYTES + 4 * num_bytes)


def _encoded(fields: Mapping[str, tuple[str, ...]]) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True) if fields else ""


@cache
def _term_reader(language: str) -> TermReader:
    return TermReader(language)


def _rows(document: Document, shape: WindowShape, reader: TermReader) -> Iterator[dict[str, object]]:
    for ordinal, window in enumerate(cut_document(document, shape)):
        sentences = [window.text[start:end] for start, end in window.sentences]
        yield {
            "passage_id": window.passage_id,
            "document_id": document.document_id,
            "title": document.title,
            "section": window.section,
            "text": window.text,
            "url": document.url,
            "start": window.start,
            "end": window.end,
            "terms": term_row(reader, document.title, sentences, opens=not ordinal),
        }
