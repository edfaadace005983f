"""Indexes that are built in memory: the exact one for few vectors, the graph for those who ask for it."""

from __future__ import annotations

from pathlib import Path

import faiss

from index_builder.index.choice import IndexChoice
from index_builder.index.vector_shards import VectorShards
from index_builder.progress import Progress
from index_builder.work_folder import write_whole
from server.retrieval.index.vector_index import INDEX_FILE

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
