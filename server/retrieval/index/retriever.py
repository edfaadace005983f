"""Passages from one index folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.batcher import Batcher
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.growth import grow, joined_text, without
from server.retrieval.index.lexical_index import LexicalIndex
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.passage_table import PassageTable
from server.retrieval.index.relevance import NUM_CANDIDATES, relevance
from server.retrieval.index.stored_vectors import StoredVectors
from server.retrieval.index.vector_index import INDEX_FILE, VectorIndex
from server.retrieval.retriever import Passage, RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

PASSAGES_FILE = "passages.arrow"
VECTORS_FILE = "vectors.npy"
_PROBE_SIMILARITY = 0.98
_MAX_BATCH = 64


@dataclass(frozen=True)
class _Query:
    text: str
    num_hits: int

    @property
    def num_candidates(self) -> int:
        """How many rows are ranked: the query's own number, so that its result is the same in every batch."""
        return max(NUM_CANDIDATES, self.num_hits)


@dataclass(frozen=True)
class _Hits:
    scores: NDArray[np.float32]  # [num_hits]
    rows: NDArray[np.int64]  # [num_hits]


class IndexRetriever:
    """Searches an index folder; queries that arrive together are encoded and searched together.

    Args:
        folder: complete and verified, with its manifest.
        encoder: the one that made the index; a probe in the manifest is checked against it.
        score_floor: passages whose cosine similarity to the query is lower are not relevant.
        timeout_s: how long a search waits for its batch.

    Raises:
        RetrievalError: the folder cannot be opened, or the encoder is another than the one that built it.
    """

    def __init__(self, folder: Path, encoder: Encoder, score_floor: float, timeout_s: float) -> None:
        self._manifest = read_manifest(folder)
        _check_encoder(encoder, self._manifest)
        self._encoder = encoder
        self._score_floor = score_floor
        self._timeout_s = timeout_s
        self._table = PassageTable(folder / PASSAGES_FILE)
        self._vectors = StoredVectors(folder / VECTORS_FILE)
        self._index = VectorIndex(folder / INDEX_FILE, self._manifest.index, self._vectors)
        self._lexical = LexicalIndex(folder, len(self._vectors), self._manifest.passages.language)
        if len(self._table) != len(self._vectors):
            raise RetrievalError(f"index {folder} has {len(self._table)} passages but {len(self._vectors)} vectors")
        self._batcher: Batcher[_Query, _Hits] = Batcher(self._find, _MAX_BATCH, "retrieval")
        log.info("index.open version=%s passages=%d", self.version, len(self._table))

    @property
    def version(self) -> str:
        """Name, version and checksum of the index."""
        return self._manifest.label

    @property
    def num_waiting(self) -> int:
        """Searches that wait for the next batch."""
        return self._batcher.num_waiting

    def search(self, query: str, k: int, window: int, threshold: float) -> list[Passage]:
        """The best passages, each grown by its neighbours; a hit inside an earlier one's neighbourhood is part of it,
        and no row is given twice.

        Raises:
            RetrievalError: the batch failed or took longer than the timeout.
        """
        hits = self._hits(query, num_hits=k * (1 + 2 * window) if k > 1 else 1)
        passages: list[Passage] = []
        covered: set[int] = set()
        for score, row in zip(hits.scores.tolist(), hits.rows.tolist(), strict=True):
            if len(passages) == k:
                break
            if row in covered:
                continue
            rows = without(covered, grow(row, self._table, self._vectors, window, threshold), row)
            covered.update(rows)
            passages.append(self._passage(row, rows, score))
        return passages

    def info(self) -> dict[str, object]:
        """The manifest's main facts."""
        manifest = self._manifest
        return {
            "version": self.version,
            "passages": len(self._table),
            "documents": manifest.passages.num_documents,
            "encoder": manifest.encoder.name,
            "index": manifest.index.kind,
            "recall": manifest.index.recall,
            "score_floor": self._score_floor,
        }

    def close(self) -> None:
        """Answer what waits and unmap the files."""
        self._batcher.close()
        self._table.close()

    def _hits(self, query: str, num_hits: int) -> _Hits:
        try:
            hits = self._batcher.submit(_Query(query, num_hits))
        except RuntimeError as error:
            raise RetrievalError(f"the index search failed: {error}") from error
        try:
            return hits.result(self._timeout_s)
        except FutureTimeoutError as error:
            hits.cancel()  # what nobody waits for any more takes no place in a batch
            raise RetrievalError(f"the index search took longer than {self._timeout_s} s") from error
        except RuntimeError as error:
            raise RetrievalError(f"the index search failed: {error}") from error

    def _find(self, queries: Sequence[_Query]) -> list[_Hits]:
        """One batch: all queries encoded at once, those with equally many candidates searched at once, each ranked."""
        vectors = self._encoder.encode([query.text for query in queries])
        found: list[_Hits | None] = [None] * len(queries)
        for num_candidates in {query.num_candidates for query in queries}:
            places = [place for place, query in enumerate(queries) if query.num_candidates == num_candidates]
            scores, rows = self._index.search(vectors[places], num_candidates)
            for number, place in enumerate(places):
                found[place] = self._rank(queries[place], scores[number], rows[number])
        return [hits for hits in found if hits is not None]

    def _rank(self, query: _Query, cosine: NDArray[np.float32], rows: NDArray[np.int64]) -> _Hits:
        """The candidates above the floor, most relevant first."""
        relevant = (rows >= 0) & (cosine >= self._score_floor)
        cosine, rows = cosine[relevant], rows[relevant]
        scores = relevance(cosine, self._lexical.match(query.text, rows))
        order = np.argsort(-scores, kind="stable")[: query.num_hits]
        return _Hits(scores[order], rows[order])

    def _passage(self, hit: int, rows: range, score: float) -> Passage:
        row = self._table.row(hit)
        text = row.text if len(rows) == 1 else joined_text([self._table.row(number) for number in rows])
        return Passage(row.passage_id, row.document_id, row.title, row.section, text, score, row.url)


def _check_encoder(encoder: Encoder, manifest: Manifest) -> None:
    facts = manifest.encoder
    if encoder.dimension != facts.dimension:
        raise RetrievalError(
            f"encoder {encoder.name!r} gives vectors of {encoder.dimension} numbers; "
            f"index {manifest.label} was built by {facts.name!r} with {facts.dimension}"
        )
    similarity = float(encoder.encode([facts.probe_text])[0] @ np.asarray(facts.probe_vector, dtype=np.float32))
    if similarity < _PROBE_SIMILARITY:
        raise RetrievalError(
            f"encoder {encoder.name!r} is not the one that built index {manifest.label}: its vector of the manifest's "
            f"probe text has similarity {similarity:.3f} to {facts.name!r}'s; at least {_PROBE_SIMILARITY} is legal"
        )
