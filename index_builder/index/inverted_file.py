"""An inverted file with compressed codes: trained once, filled shard by shard, merged on disk."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

from index_builder.index.choice import IndexChoice
from index_builder.index.trained import train_index
from index_builder.index.vector_shards import VectorShard, VectorShards
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted, write_whole
from server.retrieval.vector_index import INDEX_FILE, LISTS_FILE

SHARD_VECTORS = 1 << 18


def write_inverted_file(
    choice: IndexChoice, vectors: VectorShards, work: WorkFolder, folder: Path, progress: Progress
) -> list[str]:
    """Write `knn.index` and the file of its lists into `folder`; the names of both.

    What was trained and which shards were filled is kept in `work`, so a killed run goes on. Memory holds the training
    sample, then one shard's codes.
    """
    trained = work.path / "index" / "trained.index"
    if not trained.exists():
        with progress.stage("train", 1, "index") as bar:
            train_index(choice, vectors, trained)
            bar.update()
    filled = []
    with progress.stage("index", vectors.num_rows, "vector") as bar:
        for number, run in enumerate(vectors.runs(SHARD_VECTORS)):
            path = work.path / "index" / f"{number:06d}.index"
            if not path.exists():
                _fill(trained, run, path)
            filled.append(path)
            bar.update(sum(shard.num_rows for shard in run))
    _merge(trained, filled, folder)
    return [INDEX_FILE, LISTS_FILE]


def _fill(trained: Path, run: tuple[VectorShard, ...], path: Path) -> None:
    """A copy of the trained index with the rows of `run`, under their numbers in the whole matrix."""
    index = faiss.read_index(str(trained))
    if faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    for shard in run:
        rows = shard.read()
        index.add_with_ids(rows, np.arange(shard.start, shard.start + len(rows)))
    if faiss.get_num_gpus() > 0:
        index = faiss.index_gpu_to_cpu(index)
    write_whole(path, lambda draft: faiss.write_index(index, str(draft)))


def _merge(trained: Path, filled: list[Path], folder: Path) -> None:
    """One index over all lists, which are copied on disk and never in memory as a whole."""
    index = faiss.read_index(str(trained))
    with drafted(folder / LISTS_FILE) as lists:
        merge_ondisk(index, [str(path) for path in filled], str(lists))
    inverted = faiss.extract_index_ivf(index)
    faiss.downcast_InvertedLists(inverted.invlists).filename = str(folder / LISTS_FILE)
    write_whole(folder / INDEX_FILE, lambda draft: faiss.write_index(index, str(draft)))
