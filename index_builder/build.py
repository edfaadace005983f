"""All stages after one another, each of which goes on from what an earlier run has finished."""

from __future__ import annotations

import logging
from pathlib import Path

from index_builder.build_plan import BuildPlan
from index_builder.documents.source import open_source
from index_builder.embeddings.stage import embed_passages, plan_embedding, vector_shapes
from index_builder.index.choice import choose_index
from index_builder.index.flat import write_flat_index
from index_builder.index.folder import write_passage_file, write_vector_file
from index_builder.manifest import encoder_facts, passage_facts, write_manifest
from index_builder.passages.stage import write_passages
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.retrieval.encoder import Encoder
from server.retrieval.index_retriever import PASSAGES_FILE, VECTORS_FILE
from server.retrieval.manifest import MANIFEST, IndexFacts, Manifest, read_manifest
from server.retrieval.vector_index import INDEX_FILE

log = logging.getLogger(__name__)


def build(plan: BuildPlan, folder: Path, work: WorkFolder, progress: Progress) -> Manifest:
    """Build an index folder from a source; at once when `folder` already holds this very index."""
    source = open_source(plan.source_name)
    fingerprint = plan.index_fingerprint(source)
    if (folder / MANIFEST).exists() and (found := read_manifest(folder)).fingerprint == fingerprint:
        log.info("build.unchanged folder=%s version=%s", folder, found.version)
        return found
    work.claim("passages", plan.passages_fingerprint(source))
    totals = write_passages(source, plan.shape, work, plan.shard_passages(source), 1, progress)
    work.claim("vectors", plan.index_fingerprint(source))
    embed_passages(work, totals.num_passages, plan_embedding(plan.encoder, plan.num_workers), progress)
    num_rows, dimension = totals.num_passages, vector_shapes(work)[0][1]
    choice = choose_index(plan.index, num_rows, dimension)
    log.info("index.choice kind=%s factory=%s reason=%s", choice.kind, choice.factory, choice.reason)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_passage_file(work, folder)
    write_vector_file(work, folder, num_rows, dimension)
    write_flat_index(work, folder, num_rows, dimension, progress)
    facts = IndexFacts(kind=choice.kind, factory=choice.factory, metric="inner_product", reason=choice.reason)
    manifest = write_manifest(
        folder, fingerprint, plan.source_name, encoder_facts(Encoder(plan.encoder)), passage_facts(totals, plan.shape),
        facts, [INDEX_FILE, PASSAGES_FILE, VECTORS_FILE],
    )  # fmt: skip
    work.remove()
    return manifest
