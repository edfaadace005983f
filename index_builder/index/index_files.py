"""Passage and vector shards as an index folder: passages, vectors, the Faiss index."""

from __future__ import annotations

import logging
from pathlib import Path

from index_builder.index.choice import IndexChoice, IndexKind, choose_index
from index_builder.index.folder import write_passage_file, write_vector_file
from index_builder.index.in_memory import write_in_memory_index
from index_builder.index.inverted_file import write_inverted_file
from index_builder.index.lexical import write_lexical_files
from index_builder.index.vector_shards import VectorShards
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.retrieval.index.manifest import IndexFacts
from server.retrieval.index.retriever import PASSAGES_FILE, VECTORS_FILE
from server.retrieval.index.vector_index import LISTS_FILE

log = logging.getLogger(__name__)


def write_index_files(
    kind: IndexKind, work: WorkFolder, folder: Path, progress: Progress
) -> tuple[IndexFacts, list[str]]:
    """Write all files but the manifest; what the index is, and the files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = VectorShards.of(work.vector_shards())
    choice = choose_index(kind, vectors.num_rows, vectors.dimension)
    log.info("index.choice kind=%s factory=%s reason=%s", choice.kind, choice.factory, choice.reason)
    write_passage_file(work, folder, progress)
    write_vector_file(vectors, folder, progress)
    lexical = write_lexical_files(work.passage_shards(), folder, progress)
    names = write_faiss_index(choice, vectors, work, folder, progress)
    return index_facts(choice), [*names, PASSAGES_FILE, VECTORS_FILE, *lexical]


def write_faiss_index(
    choice: IndexChoice, vectors: VectorShards, work: WorkFolder, folder: Path, progress: Progress
) -> list[str]:
    """Write the Faiss index of `vectors` into `folder`; its files' names."""
    if choice.kind == "ivfpq":
        return write_inverted_file(choice, vectors, work, folder, progress)
    (folder / LISTS_FILE).unlink(missing_ok=True)  # of an earlier index in this folder, which the server would open
    return write_in_memory_index(choice, vectors, folder, progress)


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
