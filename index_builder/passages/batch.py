"""The unit of parsing: a fixed run of items in, their passages out. Plain functions, so any cluster can run them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from index_builder.documents import Document, ReadReport, SkippedError
from index_builder.documents.document import broken_document, note_skipped
from index_builder.documents.source import Source
from index_builder.passages.window import WindowShape, cut_document
from server.retrieval.index.lexical_index import OPENING, SENTENCE
from server.retrieval.index.passage_table import SCHEMA
from server.retrieval.index.terms import TermReader

BATCH_ITEMS = 16
# A shard holds what the index will: the passages, and the words of each.
SHARD_SCHEMA = SCHEMA.append(pa.field("terms", pa.list_(pa.uint32())))


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


def item_batches(items: Iterable[object], first_item: int) -> Iterator[ItemBatch]:
    """Batches of items from `first_item` on; the earlier ones are read over."""
    iterator = iter(items)
    next(islice(iterator, first_item, first_item), None)
    while batch := tuple(islice(iterator, BATCH_ITEMS)):
        yield ItemBatch(first_item, batch)
        first_item += len(batch)


@dataclass(frozen=True)
class BatchCutter:
    """Cuts the documents of a batch into passages; callable in any process."""

    source: Source
    shape: WindowShape

    def __call__(self, batch: ItemBatch) -> PassageBatch:
        """The batch's passages, and what was left out."""
        report = ReadReport()
        reader = TermReader(self.shape.language)
        rows: list[dict[str, object]] = []
        documents: list[tuple[str, int]] = []
        for item in batch.items:
            try:
                document = self.source.document(item)
                passages = list(_rows(document, self.shape, reader))
            except SkippedError as skipped:
                note_skipped(report, skipped)
                continue
            except Exception as error:  # noqa: BLE001 - a document costs itself only, whatever is wrong with it
                note_skipped(report, broken_document(self.source.item_name(item), error))
                continue
            report.num_documents += 1
            for part in document.left_out:
                note_skipped(report, part)
            documents.append((document.document_id, len(passages)))
            rows.extend(passages)
        next_item = batch.first_item + len(batch.items)
        return PassageBatch(next_item, pa.RecordBatch.from_pylist(rows, schema=SHARD_SCHEMA), tuple(documents), report)


def term_row(reader: TermReader, title: str, sentences: Iterable[str], opens: bool) -> list[int]:
    """A passage's words as the lexical index keeps them: its title's, then each sentence's behind a mark."""
    marked = (term for sentence in sentences for term in (SENTENCE, *reader.terms(sentence)))
    return [*([OPENING] if opens else []), *reader.terms(title), *marked]


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
