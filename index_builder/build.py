"""The stages of a build: each goes on from what an earlier run has finished, and reads what came before from the work
folder, so that they may run as separate commands."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from index_builder.build_plan import (
    BuildPlan,
    Inputs,
    index_fingerprint,
    passage_inputs,
    usual_shard_passages,
    vector_inputs,
)
from index_builder.cluster.connection import connected
from index_builder.documents.columns import USUAL_COLUMNS, Columns
from index_builder.documents.source import SourceError, open_source
from index_builder.embeddings.encoding import embed_on_cluster, embed_passages, plan_embedding
from index_builder.embeddings.vector_shard import rows_of_shard
from index_builder.evaluation.evaluate import evaluate
from index_builder.evaluation.score_floor import small_talk_floor
from index_builder.index.choice import IndexKind
from index_builder.index.index_files import write_index_files
from index_builder.index.vector_shards import VectorShards
from index_builder.manifest import encoder_facts, new_manifest, passage_facts, store_manifest
from index_builder.passages.passage_shards import PassageTotals, write_passages
from index_builder.passages.window import WindowShape
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, WorkFolderError, sweep_drafts
from server.artifacts.folder import MANIFEST
from server.retrieval.encoder.encoder import Encoder, Precision
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.retriever import VECTORS_FILE
from server.retrieval.index.stored_vectors import StoredVectors

log = logging.getLogger(__name__)


def build(plan: BuildPlan, folder: Path, work: WorkFolder, progress: Progress) -> Manifest:
    """Everything, one stage after another; at once when `folder` already holds this very index.

    Raises:
        WorkFolderError: another process works in the same folder.
    """
    source = open_source(plan.source, plan.columns)
    shard_passages = plan.shard_passages or usual_shard_passages(source)
    passages = passage_inputs(source, plan.shape, shard_passages)
    fingerprint = index_fingerprint(vector_inputs(passages, plan.encoder, plan.precision), plan.index)
    with work.locked():
        if (found := finished(folder)) is not None and found.fingerprint == fingerprint:
            log.info("build.unchanged folder=%s version=%s", folder, found.version)
            work.remove()
            return found
        sweep_drafts(work.path, folder)
        with connected(plan.ray):
            cut(plan.source, plan.shape, work, shard_passages, plan.num_workers, progress, plan.columns, plan.ray)
            embed(work, plan.encoder, plan.precision, plan.num_workers, progress, plan.ray)
        train(work, plan.index, folder, plan.name, progress)
        manifest, _ = evaluate(folder, plan.recall_floor, progress)
        work.remove()
    return manifest


def finished(folder: Path) -> Manifest | None:
    """The manifest of an evaluated index in `folder`, None when there is none."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_manifest(folder)
    return manifest if manifest.index.recall else None


def cut(
    source_name: str,
    shape: WindowShape,
    work: WorkFolder,
    shard_passages: int | None,
    num_workers: int | None,
    progress: Progress,
    columns: Columns = USUAL_COLUMNS,
    ray: str | None = None,
) -> PassageTotals:
    """Cut a source into passage shards, of a size that fits the source when `shard_passages` is None.

    Raises:
        SourceError: it cannot be read, or holds nothing to cut.
    """
    source = open_source(source_name, columns)
    shard_passages = shard_passages or usual_shard_passages(source)
    work.claim("passages", passage_inputs(source, shape, shard_passages))
    with connected(ray):
        on_cluster = ray is not None
        totals = write_passages(source, source_name, shape, work, shard_passages, num_workers, progress, on_cluster)
    if not totals.num_passages:
        raise SourceError(f"--source {source_name!r} holds no passage; left out: {totals.skipped or 'nothing'}")
    return totals


def embed(
    work: WorkFolder,
    encoder: str,
    precision: Precision,
    num_workers: int | None,
    progress: Progress,
    ray: str | None = None,
) -> None:
    """Encode the passage shards of `work`."""
    inputs, totals = _finished_passages(work)
    work.claim("vectors", vector_inputs(inputs, encoder, precision))
    if ray is None:
        embed_passages(work, totals.num_passages, plan_embedding(encoder, precision, num_workers), progress)
        return
    with connected(ray):
        embed_on_cluster(work, totals.num_passages, encoder, precision, num_workers, progress)


def train(work: WorkFolder, kind: IndexKind, folder: Path, name: str, progress: Progress) -> Manifest:
    """Write an index folder from the shards of `work`; it is complete, but not evaluated yet.

    Raises:
        WorkFolderError: a stage before has not ended, or its shards are not all there.
    """
    inputs, totals = _finished_passages(work)
    vectors = work.inputs("vectors")
    if vectors is None:
        raise WorkFolderError(f"work folder {work.path} holds no vectors; run the verb `embed` first")
    _refuse_other_counts(work, totals.num_passages)
    work.claim("index", {"index": kind})
    (folder / MANIFEST).unlink(missing_ok=True)
    facts, names = write_index_files(kind, work, folder, progress)
    encoder = Encoder(vectors["encoder"])
    manifest = new_manifest(
        folder,
        name or totals.source,
        index_fingerprint(vectors, kind),
        encoder_facts(encoder),
        passage_facts(
            totals,
            inputs["language"],
            int(inputs["window-sentences"]),
            int(inputs["stride-sentences"]),
            vectors["embedded"],
        ),
        facts,
        names,
        small_talk_floor(encoder, StoredVectors(folder / VECTORS_FILE), progress),
        progress,
    )
    store_manifest(folder, manifest)
    return manifest


def _refuse_other_counts(work: WorkFolder, num_passages: int) -> None:
    """Compare the shards with each other and with what was counted when they were written."""
    passages = [rows_of_shard(path) for path in work.passage_shards()]
    vectors = [shard.num_rows for shard in VectorShards.of(work.vector_shards()).shards]
    if sum(passages) != num_passages or passages != vectors:
        raise WorkFolderError(
            f"work folder {work.path} counted {num_passages} passages, its shards hold {sum(passages)} and "
            f"{sum(vectors)} vectors; some were lost or changed: remove the folder and begin again"
        )


def _finished_passages(work: WorkFolder) -> tuple[Inputs, PassageTotals]:
    inputs, totals = work.inputs("passages"), work.done("passages")
    if inputs is None or totals is None:
        raise WorkFolderError(f"work folder {work.path} holds no passages; run the verb `passages` first")
    return inputs, msgspec.convert(totals, PassageTotals)
