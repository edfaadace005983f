"""From a published index to an index folder of ours, with its own vectors where it has them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import pyarrow as pa

from index_builder import build
from index_builder.build import IndexRequest, Inputs, RecallDemand, index_fingerprint, vector_inputs
from index_builder.documents import ReadReport
from index_builder.documents.records import USUAL_COLUMNS, Columns
from index_builder.documents.source import files_fingerprint
from index_builder.embeddings import EmbedRequest, read_shard
from index_builder.existing.published import (
    ArrayVectors,
    IndexVectors,
    LayoutError,
    PublishedFolder,
    PublishedPassage,
    PublishedTable,
    PublishedVectors,
    find_layout,
    unit_vectors,
)
from index_builder.index.faiss_index import IndexKind
from index_builder.passages.batch import SHARD_SCHEMA, term_row
from index_builder.passages.passage_shards import PassageTotals, write_table
from index_builder.passages.window import sentence_spans
from index_builder.processes import Workers, ordered_map
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, cutter_version, sweep_drafts, write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import Manifest
from server.retrieval.index.terms import TermReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

VectorOrigin = Literal["auto", "arrays", "index", "encoder"]
EMBEDDED = "{text}"  # what the published vectors are of
_SMALL_TABLE = 100_000


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """One import of the published index in the folder `published`, whose vectors `encoder` has made."""

    published: Path
    encoder: str
    vectors: VectorOrigin = "auto"
    columns: Columns = USUAL_COLUMNS
    language: str = "en"
    window_sentences: int = 3
    index: IndexKind = "auto"
    factory: str = ""
    workers: Workers = field(default_factory=Workers)
    demand: RecallDemand = field(default_factory=RecallDemand)
    name: str = ""


def import_index(plan: ImportPlan, folder: Path, work: WorkFolder, progress: Progress) -> Manifest:
    """Write an evaluated index folder; at once when `folder` already holds this very one. A killed import goes on.

    The passages keep their order and become what the published rows are; an index of our kinds is trained on the
    vectors, since theirs are not of unit length.

    Raises:
        LayoutError: the folder is incomplete, its parts disagree, or another encoder has made its vectors.
    """
    if folder.resolve().is_relative_to(plan.published.resolve()):
        raise LayoutError(f"--out {str(folder)!r} lies in --from {str(plan.published)!r}; name a folder outside of it")
    published = find_layout(plan.published)
    table = PublishedTable(published.tables, plan.columns)
    vectors = _open_vectors(published, plan.vectors, plan.encoder)
    passages, embedding = _inputs(plan, published, table, vectors=vectors)
    fingerprint = index_fingerprint(embedding, plan.factory or plan.index)
    if (found := build.finished(folder)) is not None and found.fingerprint == fingerprint:
        log.info("import.unchanged folder=%s version=%s", folder, found.version)
        return found
    with work.locked():
        sweep_drafts(work.path, folder)
        work.claim("passages", passages)
        work.claim("vectors", embedding)
        if work.done("passages") is None:
            encoder = None if vectors is None else _agreeing_encoder(plan.encoder, published, table, vectors=vectors)
            _write_shards(plan, work, ShardWriter(work, vectors, encoder), table=table, progress=progress)
        if vectors is None:
            build.embed(EmbedRequest(plan.encoder), work, plan.workers, progress=progress)
        return build.finish(
            IndexRequest(plan.index, plan.name, factory=plan.factory),
            work,
            folder,
            demand=plan.demand,
            progress=progress,
        )


def _open_vectors(published: PublishedFolder, origin: VectorOrigin, encoder: str) -> PublishedVectors | None:
    """The published vectors; None when the passages are to be embedded anew."""
    if origin == "arrays" and not published.arrays:
        raise LayoutError(f"{published.path} holds no .npy file of vectors; legal are --vectors index and encoder")
    if origin == "index" and published.index is None:
        raise LayoutError(f"{published.path} holds no knn.index; legal are --vectors arrays and encoder")
    if published.arrays and origin in ("auto", "arrays"):
        return ArrayVectors(published.arrays)
    if published.index is not None and origin in ("auto", "index"):
        log.warning("import.vectors out of %s: near the true ones where it compresses them", published.index)
        return IndexVectors(published.index)
    log.warning("import.vectors are not published, or not wanted: %s embeds all passages anew", encoder)
    return None


def _inputs(
    plan: ImportPlan, published: PublishedFolder, table: PublishedTable, vectors: PublishedVectors | None
) -> tuple[Inputs, Inputs]:
    """What the passage shards and the vector shards are made of."""
    origin = "encoder" if vectors is None else vectors.origin
    passages = {
        "source": files_fingerprint({published.name(path): path for path in published.files}, repr(plan.columns)),
        "window-sentences": str(plan.window_sentences),
        "stride-sentences": str(plan.window_sentences),
        "language": plan.language,
        "shard-passages": str(_shard_passages(table)),
        "vectors": origin,
        "cutter": cutter_version(),
    }
    embedding = vector_inputs(passages, EmbedRequest(plan.encoder))
    if vectors is not None:
        embedding |= {"embedded": EMBEDDED, "precision": "as published"}
    return passages, embedding


def _agreeing_encoder(
    name: str, published: PublishedFolder, table: PublishedTable, vectors: PublishedVectors
) -> Encoder:
    """The encoder, after the counts and dimensions of all parts were compared."""
    _refuse_other_count(table.num_rows, vectors)
    if published.index is not None and not isinstance(vectors, IndexVectors):
        _refuse_other_count(table.num_rows, IndexVectors(published.index))
    encoder = Encoder(name)
    if encoder.dimension != vectors.dimension:
        raise LayoutError(
            f"encoder {name!r} gives vectors of {encoder.dimension} numbers, those of {vectors.origin} have "
            f"{vectors.dimension}; name the encoder that made them with --encoder"
        )
    return encoder


def _refuse_other_count(num_passages: int, vectors: PublishedVectors) -> None:
    if vectors.num_rows != num_passages:
        raise LayoutError(
            f"the tables hold {num_passages} passages, but {vectors.origin} holds {vectors.num_rows} vectors; "
            "they must be of one index, row by row"
        )


def _write_shards(
    plan: ImportPlan, work: WorkFolder, writer: ShardWriter, table: PublishedTable, progress: Progress
) -> None:
    """Write the shards that are missing, and that all are there."""
    report = ReadReport()
    all_runs = runs(table.passages(report), _shard_passages(table))
    with progress.stage("passages", table.num_rows, "passage") as bar:
        missing = (run for run in all_runs if not writer.has(run))
        for run, shard in ordered_map(RunReader(plan.language), missing, _num_processes(plan, table)):
            writer.write(run, shard)
            bar.update(run.passages[-1].row + 1 - bar.n)
    if writer.num_left_out:
        report.skipped["vector without direction"] += writer.num_left_out
    if not writer.num_passages:
        raise LayoutError(f"the tables of {plan.published} hold no passage; left out: {dict(report.skipped)}")
    totals = PassageTotals(
        str(plan.published.resolve()),
        num_documents=report.num_documents,
        num_passages=writer.num_passages,
        skipped=dict(report.skipped),
        examples=report.examples,
    )
    work.mark_done("passages", msgspec.to_builtins(totals))


def _shard_passages(table: PublishedTable) -> int:
    return 1024 if table.num_rows < _SMALL_TABLE else 16384


def _num_processes(plan: ImportPlan, table: PublishedTable) -> int:
    """One process reads what takes it less time than others take to start."""
    if table.num_rows < _SMALL_TABLE:
        return 1
    return plan.workers.num_processes


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
