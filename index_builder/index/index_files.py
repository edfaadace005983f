"""Passage and vector shards as an index folder: passages, vectors, words, the Faiss index."""

from __future__ import annotations

import logging
from pathlib import Path

import faiss

from index_builder.embeddings.vector_shards import VectorShards
from index_builder.index.choice import IndexChoice, IndexKind, choose_index
from index_builder.index.folder import DOCUMENTS_FILE, write_document_file, write_passage_file, write_vector_file
from index_builder.index.inverted_file import write_inverted_file
from index_builder.index.lexical import write_lexical_files
from index_builder.index.words import write_inverted_words
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.retriever import PASSAGES_FILE
from server.retrieval.index.stored_vectors import VECTORS_FILE
from server.retrieval.index.vector_index import INDEX_FILE, LISTS_FILE

_SAMPLE_ROWS = 50_000


def write_in_memory_index(choice: IndexChoice, vectors: VectorShards, folder: Path, progress: Progress) -> list[str]:
    """Add all vectors in order and write `knn.index` into `folder`; its name."""
    index = faiss.index_factory(vectors.dimension, choice.factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(vectors.sample(_SAMPLE_ROWS))
    with progress.stage("index", vectors.num_rows, "vector") as bar:
        for shard in vectors.shards:
            index.add(shard.read())
            bar.update(shard.num_rows)
    write_whole(folder / INDEX_FILE, lambda draft: faiss.write_index(index, str(draft)))
    return [INDEX_FILE]


log = logging.getLogger(__name__)


def write_index_files(
    wanted: IndexKind | IndexChoice, work: WorkFolder, folder: Path, progress: Progress
) -> tuple[IndexFacts, list[str]]:
    """Write all files but the manifest; what the index is, and the files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = VectorShards.of(work.vector_shards())
    choice = wanted if isinstance(wanted, IndexChoice) else choose_index(wanted, vectors.num_rows, vectors.dimension)
    log.info("index.choice kind=%s factory=%s reason=%s", choice.kind, choice.factory, choice.reason)
    write_passage_file(work, folder, progress)
    write_document_file(work, folder)
    write_vector_file(vectors, folder, progress)
    lexical = write_lexical_files(work.passage_shards(), folder, progress)
    inverted = write_inverted_words(folder, progress)
    names = write_faiss_index(choice, vectors, work, folder=folder, progress=progress)
    return index_facts(choice), [*names, PASSAGES_FILE, DOCUMENTS_FILE, VECTORS_FILE, *lexical, *inverted]


def write_faiss_index(
    choice: IndexChoice, vectors: VectorShards, work: WorkFolder, folder: Path, progress: Progress
) -> list[str]:
    """Write the Faiss index of `vectors` into `folder`; its files' names."""
    if choice.is_inverted_file:
        return write_inverted_file(choice, vectors, work, folder=folder, progress=progress)
    (folder / LISTS_FILE).unlink(missing_ok=True)  # of an earlier index in this folder, which the server would open
    return write_in_memory_index(choice, vectors, folder, progress=progress)


def index_facts(choice: IndexChoice) -> IndexFacts:
    """What the manifest says of an index that was not evaluated yet."""
    return IndexFacts(
        kind=choice.kind,
        factory=choice.factory,
        metric="inner_product",
        reason=choice.reason,
        breadth=choice.breadth,
        num_candidates=choice.num_candidates,
    )
