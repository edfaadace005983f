"""An exact index: every vector, uncompressed."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.vector_index import INDEX_FILE


def write_flat_index(work: WorkFolder, folder: Path, num_rows: int, dimension: int, progress: Progress) -> None:
    """Add all vector shards, in order, to a flat inner-product index in `folder`."""
    index = faiss.IndexFlatIP(dimension)
    with progress.stage("index", num_rows, "vector") as bar:
        for number in range(len(work.passage_shards())):
            shard = np.load(work.vector_shard(number))
            index.add(shard.astype(np.float32))
            bar.update(len(shard))
        write_whole(folder / INDEX_FILE, lambda draft: faiss.write_index(index, str(draft)))
