"""An index folder brought up to date in place: what is kept is copied with its vectors, what is new is cut and encoded,
and nothing of what is forgotten stays in any file.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec
import numpy as np
import pyarrow as pa

from index_builder.build import Earlier, IndexRequest, Inputs, RecallDemand, finish, passage_inputs, vector_inputs
from index_builder.documents.records import USUAL_COLUMNS, Columns
from index_builder.documents.source import open_source
from index_builder.embeddings import EmbedRequest, embedded_texts, plan_embedding, read_shard
from index_builder.existing.old_index import ChangedItems, OldIndex, text_digest
from index_builder.index.faiss_index import IndexChoice, write_kept
from index_builder.manifest import encoder_revision
from index_builder.passages.batch import Failure, read_failures, write_failures
from index_builder.passages.passage_shards import PassageRequest, PassageTotals, write_passages, write_table
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import QUARANTINE_FILE, WorkFolder, made_by, sweep_drafts, write_whole
from server.retrieval.encoder.encoder import Encoder, Precision
from server.retrieval.index.manifest import Manifest
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

SHARD_ROWS = 16384


class UpdateError(ValueError):
    """An update that cannot be made; the sentence names what was found and what is legal."""


@dataclass(frozen=True, kw_only=True)
class UpdatePlan:
    """What an index should hold.

    Attributes:
        source: all that it should hold: what is not in it any more is forgotten; "": what it holds.
        add: what is added, or takes the place of documents with the same ids; "": nothing.
        forget: ids of documents that must go.
    """

    source: str = ""
    add: str = ""
    forget: tuple[str, ...] = ()
    columns: Columns = USUAL_COLUMNS
    encoder: str = ""  # empty: the manifest's
    workers: Workers = field(default_factory=Workers)
    demand: RecallDemand = field(default_factory=RecallDemand)


@dataclass(frozen=True)
class Change:
    """What an update does: counts of documents."""

    num_kept: int
    num_new: int
    num_forgotten: int
    num_encoded: int  # passages; the vectors of the other new ones are those of equal texts


def update_index(plan: UpdatePlan, folder: Path, work: WorkFolder, progress: Progress) -> tuple[Manifest, Change]:
    """Bring the index in `folder` up to date; it is served as it was until the new one takes its place at once.

    Raises:
        UpdateError: a document to be forgotten is not there, or nothing would be left.
        RetrievalError: it is no index, or the encoder is another than the one that built it.
    """
    old = OldIndex(folder)
    encoder = plan.encoder or old.manifest.encoder.name
    _refuse_other_encoder(encoder, old)
    with work.locked():
        _begin_anew(work)
        sweep_drafts(work.path, folder)
        fresh = WorkFolder(work.path / "new")
        totals, kept = _cut_changed(plan, old, fresh, progress=progress)
        num_encoded = _embed_changed(plan, old, kept, fresh=fresh, progress=progress) if totals.num_passages else 0
        change = Change(int(kept.sum()), totals.num_documents, int((~kept).sum()), num_encoded=num_encoded)
        num_passages = _write_shards(old, kept, fresh, work=work, progress=progress)
        if not num_passages:
            raise UpdateError(f"index {old.manifest.label} would hold no passage; remove its folder instead")
        write_failures(work.quarantine, _failures(plan, old, fresh))
        shutil.rmtree(fresh.path, ignore_errors=True)
        _mark_done(
            plan, old, work, totals=_totals(plan, old, totals, num_passages=num_passages, change=change), change=change
        )
        rows = old.row_mask(kept)
        earlier = Earlier(old.manifest, folder, max(totals.num_passages, int((~rows).sum())))
        manifest = finish(
            _same_index(old, rows, work), work, folder, demand=plan.demand, progress=progress, earlier=earlier
        )
    log.info("update.done version=%s change=%s", manifest.version, change)
    return manifest, change


def _refuse_other_encoder(encoder: str, old: OldIndex) -> None:
    facts = old.manifest.encoder
    if encoder_revision(encoder) != facts.revision:
        raise RetrievalError(
            f"encoder {encoder!r} is not the one that built index {old.manifest.label} ({facts.name!r}, revision "
            f"{facts.revision[:12]}): its vectors cannot be kept; build the index anew"
        )


def _begin_anew(work: WorkFolder) -> None:
    for path in work.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _cut_changed(
    plan: UpdatePlan, old: OldIndex, fresh: WorkFolder, progress: Progress
) -> tuple[PassageTotals, NDArray[np.bool_]]:
    """Cut what is new or changed; which documents are kept."""
    kept = np.ones(old.num_documents, dtype=bool)
    forgotten = _numbers_of(plan.forget, old)
    totals = PassageTotals(plan.source or plan.add or old.manifest.source)
    if plan.source or plan.add:
        changed = ChangedItems(open_source(plan.source or plan.add, plan.columns), old, _is_cut_alike(old))
        request = PassageRequest(
            plan.source or plan.add, _shape(old), plan.columns, quarantine=old.folder / QUARANTINE_FILE
        )
        totals = write_passages(changed, request, fresh, workers=plan.workers, progress=progress)
        if plan.source:
            kept = changed.seen
        kept[_numbers_of_new(old, fresh)] = False
    kept[forgotten] = False
    return totals, kept


def _is_cut_alike(old: OldIndex) -> bool:
    return old.manifest.passages.made_by == made_by()


def _shape(old: OldIndex) -> WindowShape:
    facts = old.manifest.passages
    return WindowShape(facts.window_sentences, facts.stride_sentences, facts.language)


def _numbers_of(document_ids: tuple[str, ...], old: OldIndex) -> list[int]:
    if not document_ids:
        return []
    numbers = {document_id: number for number, document_id in enumerate(old.document_ids)}
    missing = [document_id for document_id in document_ids if document_id not in numbers]
    if missing:
        raise UpdateError(
            f"--forget: index {old.manifest.label} has no document {missing[0]!r}"
            + (f" and {len(missing) - 1} others of those named" if missing[1:] else "")
        )
    return [numbers[document_id] for document_id in document_ids]


def _numbers_of_new(old: OldIndex, fresh: WorkFolder) -> list[int]:
    """The documents that new ones take the place of."""
    new_ids = {
        document_id
        for path in fresh.passage_shards()
        for document_id in read_shard(path)["document_id"].unique().to_pylist()
    }
    return [number for number, document_id in enumerate(old.document_ids) if document_id in new_ids]


def _embed_changed(
    plan: UpdatePlan, old: OldIndex, kept: NDArray[np.bool_], fresh: WorkFolder, progress: Progress
) -> int:
    """Vectors of the new passages: of texts that the index held already, those it had; how many were encoded."""
    had = old.rows_by_text(old.row_mask(~kept))
    encoder: Encoder | None = None
    num_encoded = 0
    with progress.stage("embed", None, "passage") as bar:
        for number, path in enumerate(fresh.passage_shards()):
            texts = embedded_texts(read_shard(path))
            rows = np.array([had.get(text_digest(text), -1) for text in texts], dtype=np.int64)
            missing = np.flatnonzero(rows < 0)
            vectors = np.zeros((len(texts), old.manifest.encoder.dimension), dtype=np.float16)
            if len(missing):
                encoder = encoder or _encoder(plan, old)
                vectors[missing] = encoder.encode([texts[row] for row in missing], bar.update).astype(np.float16)
            vectors[rows >= 0] = old.vectors(rows[rows >= 0])
            write_whole(fresh.vector_shard(number), partial(_save, matrix=vectors))
            num_encoded += len(missing)
    return num_encoded


def _encoder(plan: UpdatePlan, old: OldIndex) -> Encoder:
    planned = plan_embedding(_request(plan, old), plan.workers)
    return Encoder(planned.encoder, planned.device(), num_threads=planned.num_processes, precision=planned.precision)


def _request(plan: UpdatePlan, old: OldIndex) -> EmbedRequest:
    asked = old.manifest.encoder.precision
    precision: Precision = asked if asked in get_args(Precision) else "auto"  # type: ignore[assignment]
    return EmbedRequest(plan.encoder or old.manifest.encoder.name, precision)


def _write_shards(
    old: OldIndex, kept: NDArray[np.bool_], fresh: WorkFolder, work: WorkFolder, progress: Progress
) -> int:
    """What is kept, then what is new, as the shards of an index; how many passages they hold."""
    rows = old.row_mask(kept)
    writer = _ShardWriter(work)
    with progress.stage("kept", int(rows.sum()), "passage") as bar:
        for table, vectors in old.shards(rows):
            writer.add(table, vectors)
            bar.update(table.num_rows)
    writer.finish()  # the new ones begin a shard: an inverted file is filled with theirs alone
    for number, path in enumerate(fresh.passage_shards()):
        writer.add(read_shard(path).replace_schema_metadata(None), np.load(fresh.vector_shard(number)))
    return writer.finish()


class _ShardWriter:
    """Collects passages and their vectors and writes a shard whenever there are enough."""

    def __init__(self, work: WorkFolder) -> None:
        self._work = work
        self._tables: list[pa.Table] = []
        self._vectors: list[NDArray[np.float16]] = []
        self._num_waiting = self._num_shards = self._num_passages = 0

    def add(self, table: pa.Table, vectors: NDArray[np.float16]) -> None:
        self._tables.append(table)
        self._vectors.append(vectors)
        self._num_waiting += table.num_rows
        if self._num_waiting >= SHARD_ROWS:
            self._write()

    def finish(self) -> int:
        if self._num_waiting:
            self._write()
        return self._num_passages

    def _write(self) -> None:
        number = self._num_shards
        table = pa.concat_tables(self._tables).combine_chunks()
        write_whole(self._work.vector_shard(number), partial(_save, matrix=np.concatenate(self._vectors)))
        write_whole(self._work.passage_shard(number), partial(write_table, table=table))
        self._num_passages += self._num_waiting
        self._num_shards += 1
        self._tables, self._vectors, self._num_waiting = [], [], 0


def _totals(plan: UpdatePlan, old: OldIndex, cut: PassageTotals, num_passages: int, change: Change) -> PassageTotals:
    """What the manifest says was read; what was left out of documents that are kept is not known any more."""
    skipped = dict(cut.skipped)
    if not plan.source:
        for cause, count in old.manifest.passages.skipped.items():
            skipped[cause] = skipped.get(cause, 0) + count
    return PassageTotals(
        plan.source or old.manifest.source,
        num_documents=change.num_kept + change.num_new,
        num_passages=num_passages,
        skipped=skipped,
    )


def _failures(plan: UpdatePlan, old: OldIndex, fresh: WorkFolder) -> list[Failure]:
    """What is known to fail: of a whole source what it holds now, else what was known as well; nothing forgotten."""
    found = read_failures(fresh.quarantine)
    if not plan.source:
        found = read_failures(old.folder / QUARANTINE_FILE) | found
    return [failure for failure in found.values() if failure.name not in plan.forget]


def _mark_done(plan: UpdatePlan, old: OldIndex, work: WorkFolder, totals: PassageTotals, change: Change) -> None:
    """Say what the shards are made of, as the stages of a build do."""
    inputs = _passage_inputs(plan, old, change)
    work.claim("passages", inputs)
    work.mark_done("passages", msgspec.to_builtins(totals))
    work.claim("vectors", vector_inputs(inputs, _request(plan, old)) | {"embedded": old.manifest.passages.embedded})


def _passage_inputs(plan: UpdatePlan, old: OldIndex, change: Change) -> Inputs:
    if plan.source:
        source = open_source(plan.source, plan.columns)
        return passage_inputs(source, PassageRequest(plan.source, _shape(old), plan.columns))
    shape = _shape(old)
    changed = repr((old.manifest.fingerprint, plan.add, plan.forget, change)).encode()
    return {
        "source": hashlib.sha256(changed).hexdigest(),
        "window-sentences": str(shape.sentences),
        "stride-sentences": str(shape.stride),
        "language": shape.language,
    }


def _same_index(old: OldIndex, rows: NDArray[np.bool_], work: WorkFolder) -> IndexRequest:
    """The same kind of index, with what it was trained on; an inverted file keeps the codes of the rows that stay."""
    facts = old.manifest.index
    is_filled = facts.kind == "ivfpq"
    if is_filled:
        write_kept(old.folder, work, rows)
    choice = IndexChoice(
        facts.kind,
        facts.factory,
        facts.reason,
        num_candidates=facts.num_candidates,
        breadth=facts.breadth,
        num_kept=int(rows.sum()) if is_filled else 0,
    )
    return IndexRequest("auto", old.manifest.name, choice if facts.kind != "flat" else None)


def _save(path: Path, matrix: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, matrix)
