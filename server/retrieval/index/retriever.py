"""Passages from one index folder."""

from __future__ import annotations

import logging
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import lru_cache
from pathlib import Path

import numpy as np

from server.retrieval.encoder.batcher import Batcher
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.prompts import Prompts
from server.retrieval.encoder.question_vectors import QuestionVectors
from server.retrieval.encoder.shared import SharedEncoder
from server.retrieval.index.given_texts import GivenTexts
from server.retrieval.index.growth import grow, joined_text, without
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.ranking import Hits, IndexParts, Ranking, Wanted
from server.retrieval.index.small_talk import SmallTalk
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, RetrievalError

log = logging.getLogger(__name__)

_PROBE_SIMILARITY = 0.98
_MAX_BATCH = 64
_FILTERS_KEPT = 32  # whose rows are known
_HITS_A_PASSAGE = 4  # so many are ranked for each passage wanted: some are copies of others, or stand beside them


class IndexRetriever:
    """Searches an index folder; queries that arrive together are encoded and searched together.

    Args:
        folder: complete and verified, with its manifest.
        encoder: the one that made the index, maybe shared; a probe in the manifest is checked against it.
        score_floor: passages whose cosine similarity to the query is lower are not relevant.
        timeout_s: how long a search waits for its batch.
        small_talk: of the same encoder, where it is there already: opening then keeps nobody from the encoder for long.

    Raises:
        RetrievalError: the folder cannot be opened, or the encoder is another than the one that built it.
    """

    def __init__(
        self,
        folder: Path,
        encoder: Encoder | SharedEncoder,
        score_floor: float,
        timeout_s: float,
        small_talk: SmallTalk | None = None,
    ) -> None:
        self._manifest = read_manifest(folder)
        self.embedder = encoder if isinstance(encoder, SharedEncoder) else SharedEncoder(encoder)
        _check_encoder(self.embedder, self._manifest)
        self._score_floor = score_floor
        self._timeout_s = timeout_s
        parts = IndexParts.of(folder, self._manifest)
        self._table = parts.table
        self._vectors = parts.vectors
        if len(self._table) != len(self._vectors):
            raise RetrievalError(f"index {folder} has {len(self._table)} passages but {len(self._vectors)} vectors")
        ranking = Ranking(
            parts, QuestionVectors(self.embedder), small_talk or SmallTalk(self.embedder), score_floor=score_floor
        )
        self._allowed = lru_cache(_FILTERS_KEPT)(self._table.matching)
        self._batcher: Batcher[Wanted, Hits] = Batcher(ranking.find, _MAX_BATCH, "retrieval")
        log.info("index.open version=%s passages=%d", self.version, len(self._table))

    @property
    def version(self) -> str:
        """Name, version and checksum of the index."""
        return self._manifest.label

    @property
    def num_waiting(self) -> int:
        """Searches that wait for the next batch."""
        return self._batcher.num_waiting

    def search(self, query: Query) -> list[Passage]:
        """The best passages, each grown by its neighbours; a hit inside an earlier one's neighbourhood is part of it,
        no row is given twice, nor a text that an earlier passage holds.

        Raises:
            RetrievalError: the batch failed or took longer than the timeout.
        """
        num_hits = query.k * max(_HITS_A_PASSAGE, 1 + 2 * query.window) if query.k > 1 else 1
        if query.only is not None and not query.only.speaks(self._manifest.passages.language):
            return []
        allowed = None if query.only is None else self._allowed(query.only)
        wanted = Wanted(
            query.text, num_hits, tuple(query.earlier), query.standalone, required=query.required, allowed=allowed
        )
        hits = self._hits(wanted)
        passages: list[Passage] = []
        covered: set[int] = set()
        given = GivenTexts()
        for score, row in zip(hits.scores.tolist(), hits.rows.tolist(), strict=True):
            if len(passages) == query.k:
                break
            if row in covered or given.repeats(self._table.row(row)):
                continue
            rows = without(
                covered, grow(row, self._table, self._vectors, window=query.window, threshold=query.threshold), row
            )
            covered.update(rows)
            given.add([self._table.row(number) for number in rows])
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

    def _hits(self, wanted: Wanted) -> Hits:
        try:
            hits = self._batcher.submit(wanted)
        except RuntimeError as error:
            raise RetrievalError(f"the index search failed: {error}") from error
        try:
            return hits.result(self._timeout_s)
        except FutureTimeoutError as error:
            hits.cancel()  # what nobody waits for any more takes no place in a batch
            raise RetrievalError(f"the index search took longer than {self._timeout_s} s") from error
        except RuntimeError as error:
            raise RetrievalError(f"the index search failed: {error}") from error

    def _passage(self, hit: int, rows: range, score: float) -> Passage:
        row = self._table.row(hit)
        text = row.text if len(rows) == 1 else joined_text([self._table.row(number) for number in rows])
        return Passage(
            row.passage_id, row.document_id, row.title, section=row.section, text=text, score=score, url=row.url
        )


def _check_encoder(encoder: SharedEncoder, manifest: Manifest) -> None:
    facts, name = manifest.encoder, encoder.encoder_name
    if encoder.dimension != facts.dimension:
        raise RetrievalError(
            f"encoder {name!r} gives vectors of {encoder.dimension} numbers; "
            f"index {manifest.label} was built by {facts.name!r} with {facts.dimension}"
        )
    mine, theirs = encoder.prompts, Prompts(facts.query_prompt, facts.passage_prompt)
    if mine != theirs:
        raise RetrievalError(
            f"encoder {name!r} puts {mine.query!r} before queries and {mine.passage!r} before passages; "
            f"index {manifest.label} was built with {theirs.query!r} and {theirs.passage!r}: build it again"
        )
    similarity = float(
        encoder.encode([facts.probe_text], role="passage")[0] @ np.asarray(facts.probe_vector, dtype=np.float32)
    )
    if similarity < _PROBE_SIMILARITY:
        raise RetrievalError(
            f"encoder {name!r} is not the one that built index {manifest.label}: its vector of the "
            f"manifest's probe text has similarity {similarity:.3f} to {facts.name!r}'s; at least "
            f"{_PROBE_SIMILARITY} is legal"
        )
