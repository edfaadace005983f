"""Published passages as shards of ours, with the words of each and the published vectors beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.vector_shards import read_shard
from index_builder.importing.published import LayoutError, PublishedPassage
from index_builder.importing.vectors import PublishedVectors, unit_vectors
from index_builder.passages.batch import SHARD_SCHEMA, term_row
from index_builder.passages.passage_shards import write_table
from index_builder.passages.window import sentence_spans
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.terms import TermReader

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PassageRun:
    """The passages of shard `number`."""

    number: int
    passages: tuple[PublishedPassage, ...]


def runs(passages: Iterable[PublishedPassage], shard_passages: int) -> Iterator[PassageRun]:
    """`passages` in runs of `shard_passages`, the last one shorter."""
    iterator = iter(passages)
    number = 0
    while run := tuple(islice(iterator, shard_passages)):
        yield PassageRun(number, run)
        number += 1


@dataclass(frozen=True)
class RunReader:
    """Reads the words of a run; callable in any process."""

    language: str

    def __call__(self, run: PassageRun) -> tuple[PassageRun, pa.Table]:
        """The run and its shard."""
        reader = TermReader(self.language)
        rows = [self._row(passage, reader) for passage in run.passages]
        return run, pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)

    def _row(self, passage: PublishedPassage, reader: TermReader) -> dict[str, object]:
        text = passage.text
        sentences = [text[start:end] for start, end in sentence_spans(text, self.language)]
        return {
            "passage_id": f"{passage.document_id}:{passage.ordinal}",
            "document_id": passage.document_id,
            "title": passage.title,
            "section": "",
            "text": text,
            "url": passage.url,
            "start": passage.start,
            "end": passage.start + len(text),
            "fields": "",
            "terms": term_row(reader, passage.title, sentences, opens=not passage.ordinal),
        }


log = logging.getLogger(__name__)

_PROBES = 4  # passages of every shard that the encoder is compared on


class ShardWriter:
    """Writes runs of passages as shards, one after another; what an earlier process has written stays.

    Args:
        vectors: the published ones; None: passages only.
        encoder: the one that should have made them, with which some are compared.

    Attributes:
        num_passages: in all shards that were written or are there.
        num_left_out: passages whose vector has no direction.
    """

    def __init__(self, work: WorkFolder, vectors: PublishedVectors | None, encoder: Encoder | None) -> None:
        self._work = work
        self._vectors = vectors
        self._encoder = encoder
        self.num_passages = 0
        self.num_left_out = 0

    def has(self, run: PassageRun) -> bool:
        """Whether the run's shard is there; if so, it is counted."""
        path = self._work.passage_shard(run.number)
        if path.exists():
            self._count(run, read_shard(path).num_rows)
        return path.exists()

    def write(self, run: PassageRun, shard: pa.Table) -> None:
        """Write a run's shard, its vectors first: a passage shard that is there says that both are.

        Raises:
            LayoutError: the vectors are not the encoder's, or not those of these passages.
        """
        if self._vectors is not None:
            units = unit_vectors(self._vectors.rows(np.array([passage.row for passage in run.passages])))
            good = units.any(axis=1)
            for number in np.flatnonzero(~good):
                log.warning("import.skipped row=%d cause=vector without direction", run.passages[number].row)
            shard, units = shard.filter(pa.array(good)), units[good]
            self._refuse_other_encoder(shard["text"], run, units, vectors=self._vectors)
            _save(self._work.vector_shard(run.number), units)
        write_whole(self._work.passage_shard(run.number), lambda draft: write_table(draft, shard))
        self._count(run, shard.num_rows)

    def _count(self, run: PassageRun, num_kept: int) -> None:
        self.num_passages += num_kept
        self.num_left_out += len(run.passages) - num_kept

    def _refuse_other_encoder(
        self, texts: pa.ChunkedArray, run: PassageRun, units: NDArray[np.float32], vectors: PublishedVectors
    ) -> None:
        """Compare some of a shard's vectors with the encoder's own: other rows, or another encoder, show here."""
        if self._encoder is None or not len(units):
            return
        probes = np.unique(np.linspace(0, len(units) - 1, _PROBES).astype(int))
        own = self._encoder.encode([texts[int(number)].as_py() for number in probes])
        similarity = float(np.median((own * units[probes]).sum(axis=1)))
        if similarity < vectors.least_similarity:
            raise LayoutError(
                f"the vectors of {vectors.origin} are not those that encoder {self._encoder.name!r} gives the passages "
                f"from row {run.passages[0].row} on: their similarity is {similarity:.2f}, at least "
                f"{vectors.least_similarity} is legal; name the encoder that made them, see that tables and arrays are "
                "in one order, or embed anew with --vectors encoder"
            )


def _save(path: Path, units: NDArray[np.float32]) -> None:
    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            np.save(file, units.astype(np.float16))

    write_whole(path, write)
