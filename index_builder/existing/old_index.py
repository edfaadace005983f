"""The index that is brought up to date: its documents, their passages, words and vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.documents import Document, ReadReport
from index_builder.documents.records import Columns
from index_builder.documents.source import Source
from index_builder.embeddings import embedded_texts
from index_builder.index.index_files import DOCUMENTS_FILE
from index_builder.passages.batch import SHARD_SCHEMA
from server.retrieval.index.lexical_index import TERM_STARTS_FILE, TERMS_FILE
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.mapped_array import mapped_array
from server.retrieval.index.passage_table import PASSAGES_FILE
from server.retrieval.index.stored_vectors import VECTORS_FILE
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OldIndex:
    """An index folder, opened to be read from its beginning to its end.

    Attributes:
        document_ids: by the number of the document.
        first_rows: the first passage of every document, and behind the last one's.

    Raises:
        RetrievalError: it is no index, or was built before documents were listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        if not (folder / DOCUMENTS_FILE).exists():
            raise RetrievalError(
                f"index {folder} has no {DOCUMENTS_FILE}, since an earlier version built it: build it anew"
            )
        documents = pa.ipc.open_file(pa.memory_map(str(folder / DOCUMENTS_FILE))).read_all()
        self.document_ids: list[str] = documents["document_id"].to_pylist()
        self.digests: list[bytes | None] = documents["digest"].to_pylist()
        self.first_rows = np.append(documents["first_row"].to_numpy(), self.manifest.passages.num_passages)
        self._rows = pa.ipc.open_file(pa.memory_map(str(folder / PASSAGES_FILE)))
        self._vectors = mapped_array(folder / VECTORS_FILE, np.float16, 2)
        self._terms = np.load(folder / TERMS_FILE, mmap_mode="r")
        self._starts = np.load(folder / TERM_STARTS_FILE, mmap_mode="r")

    @property
    def num_documents(self) -> int:
        """How many there are."""
        return len(self.document_ids)

    def row_mask(self, documents: NDArray[np.bool_]) -> NDArray[np.bool_]:  # [num_passages]
        """Which passages are of these documents."""
        return np.repeat(documents, np.diff(self.first_rows))

    def shards(self, rows: NDArray[np.bool_]) -> Iterator[tuple[pa.Table, NDArray[np.float16]]]:
        """The passages in `rows` as pieces of shards, with their vectors, in order."""
        digests = pa.array(self.digests, pa.binary(16)).take(
            pa.array(np.repeat(np.arange(self.num_documents), np.diff(self.first_rows))[rows])
        )
        start = done = 0
        for number in range(self._rows.num_record_batches):
            batch = self._rows.get_batch(number)
            wanted = np.flatnonzero(rows[start : start + batch.num_rows])
            if len(wanted):
                piece = pa.Table.from_batches([batch])
                piece = piece if len(wanted) == batch.num_rows else piece.take(pa.array(wanted))
                columns = {name: piece[name] for name in piece.schema.names}
                columns["terms"] = self._term_lists(wanted + start)
                columns["digest"] = digests.slice(done, len(wanted))
                done += len(wanted)
                yield pa.table(columns).select(SHARD_SCHEMA.names).cast(SHARD_SCHEMA), self.vectors(wanted + start)
            start += batch.num_rows

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:  # [num_rows, dimension]
        """The stored vectors of these rows."""
        return np.asarray(self._vectors[rows])

    def rows_by_text(self, rows: NDArray[np.bool_]) -> dict[bytes, int]:
        """The row that holds each embedded text, by the text's digest, of the passages in `rows`."""
        found: dict[bytes, int] = {}
        start = 0
        for number in range(self._rows.num_record_batches):
            batch = self._rows.get_batch(number)
            wanted = np.flatnonzero(rows[start : start + batch.num_rows])
            if len(wanted):
                texts = embedded_texts(pa.Table.from_batches([batch]).take(pa.array(wanted)))
                found |= {text_digest(text): int(row) + start for text, row in zip(texts, wanted, strict=True)}
            start += batch.num_rows
        return found

    def _term_lists(self, rows: NDArray[np.int64]) -> pa.ListArray:
        starts, ends = self._starts[rows], self._starts[rows + 1]
        lengths = ends - starts
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
        if starts[0] + offsets[-1] == ends[-1]:  # neighbours, as nearly all are
            terms = self._terms[starts[0] : ends[-1]]
        else:
            terms = self._terms[np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])]
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(terms.astype(np.uint32)))


def text_digest(text: str) -> bytes:
    """What an embedded text is known by."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class ChangedItems:
    """A source whose items are those of another that an index does not hold as they are now.

    Args:
        cut_alike: whether the index was cut as this program cuts; if not, every item has changed.

    Attributes:
        seen: which documents of the index the source holds unchanged, once its items were read.
    """

    def __init__(self, source: Source, old: OldIndex, cut_alike: bool) -> None:
        self._source = source
        self.seen: NDArray[np.bool_] = np.zeros(old.num_documents, dtype=bool)
        digests = enumerate(old.digests if cut_alike else ())
        self._known: dict[bytes, list[int]] = {}
        for number, digest in digests:
            if digest is not None:
                self._known.setdefault(digest, []).append(number)

    def __getstate__(self) -> dict[str, object]:
        """What other processes need to parse items."""
        return {"_source": self._source}

    @property
    def files(self) -> list[Path]:
        """What is read, in order."""
        return self._source.files

    @property
    def columns(self) -> Columns:
        """Which columns of tables are read."""
        return self._source.columns

    def name(self, path: Path) -> str:
        """The name of one of the files within the source."""
        return self._source.name(path)

    def items(self, report: ReadReport) -> Iterator[object]:
        """What has changed, in order."""
        for item in self._source.items(report):
            if numbers := self._known.get(self._source.item_digest(item)):
                self.seen[numbers] = True
            else:
                yield item

    def document(self, item: object) -> Document:
        """The document of one item. Raises SkippedError: the item gives none."""
        return self._source.document(item)

    def item_name(self, item: object) -> str:
        """What a person finds an item by."""
        return self._source.item_name(item)

    def item_digest(self, item: object) -> bytes:
        """What an item is known by, as long as nothing in it changes."""
        return self._source.item_digest(item)

    def is_risky(self, item: object) -> bool:
        """Whether nobody can promise how long reading an item takes."""
        return self._source.is_risky(item)

    def item_bytes(self, item: object) -> int:
        """The size of a risky item."""
        return self._source.item_bytes(item)
