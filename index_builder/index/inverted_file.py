"""An inverted file with compressed codes: trained once on a sample, filled shard by shard, merged on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

from index_builder.embeddings.vector_shards import VectorShard, VectorShards
from index_builder.index.choice import IndexChoice, sample_rows, usual_sample_bytes
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted, write_whole
from server.retrieval.index.vector_index import INDEX_FILE, LISTS_FILE

log = logging.getLogger(__name__)

SHARD_VECTORS = 1 << 18


def write_inverted_file(
    choice: IndexChoice, vectors: VectorShards, work: WorkFolder, folder: Path, progress: Progress
) -> list[str]:
    """Write `knn.index` and the file of its lists into `folder`; the names of both.

    What was trained and which shards were filled is kept in `work`, so a killed run goes on. Memory holds the training
    sample, then one shard's codes.
    """
    trained = _trained(work)
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
    with progress.stage("merge", vectors.num_rows, "vector") as bar:
        _merge(trained, filled, folder)
        bar.update(vectors.num_rows)  # one call into Faiss, which tells nothing on the way
    return [INDEX_FILE, LISTS_FILE]


def write_emptied(folder: Path, work: WorkFolder) -> None:
    """Keep what the inverted file of an index folder was trained to, without its vectors, as the one to fill."""
    index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR)
    inverted = faiss.extract_index_ivf(index)
    empty = faiss.ArrayInvertedLists(inverted.nlist, inverted.code_size)
    empty.this.disown()  # the index deletes them
    inverted.replace_invlists(empty, True)
    inverted.ntotal = index.ntotal = 0
    write_whole(_trained(work), lambda draft: faiss.write_index(index, str(draft)))


def _trained(work: WorkFolder) -> Path:
    return work.path / "index" / "trained.index"


def _fill(trained: Path, run: tuple[VectorShard, ...], path: Path) -> None:
    """A copy of the trained index with the rows of `run`, under their numbers in the whole matrix."""
    index = _filled_on_gpu(trained, run) if faiss.get_num_gpus() > 0 else None
    if index is None:
        index = _filled(faiss.read_index(str(trained)), run)
    write_whole(path, lambda draft: faiss.write_index(index, str(draft)))


def _filled(index: faiss.Index, run: tuple[VectorShard, ...]) -> faiss.Index:
    for shard in run:
        rows = shard.read()
        index.add_with_ids(rows, np.arange(shard.start, shard.start + len(rows)))
    return index


def _filled_on_gpu(trained: Path, run: tuple[VectorShard, ...]) -> faiss.Index | None:
    """The filled index, back in this machine's memory; None when the GPU cannot take one of this shape or size."""
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True  # tables of codes of 56 bytes and more fit a multiprocessor in half precision only
    options.allowCpuCoarseQuantizer = True  # there is no graph over the lists on GPUs
    resources = faiss.StandardGpuResources()
    try:
        index = faiss.index_cpu_to_gpu(resources, 0, faiss.read_index(str(trained)), options)
        return faiss.index_gpu_to_cpu(_filled(index, run))
    except RuntimeError as error:
        log.warning("index.fill_on_cpu reason=%s", str(error).strip().splitlines()[0][:300])
        return None


def _merge(trained: Path, filled: list[Path], folder: Path) -> None:
    """One index over all lists, which are copied on disk and never in memory as a whole."""
    index = faiss.read_index(str(trained))
    with drafted(folder / LISTS_FILE) as lists:
        merge_ondisk(index, [str(path) for path in filled], str(lists))
    inverted = faiss.extract_index_ivf(index)
    faiss.downcast_InvertedLists(inverted.invlists).filename = str(folder / LISTS_FILE)
    write_whole(folder / INDEX_FILE, lambda draft: faiss.write_index(index, str(draft)))


_SAMPLE_PER_LIST = 64
_SEED = 1234


def train_index(choice: IndexChoice, vectors: VectorShards, path: Path) -> int:
    """Train an inverted file on a sample and write it, empty, to `path`; how many vectors it was trained on."""
    index = faiss.index_factory(vectors.dimension, choice.factory, faiss.METRIC_INNER_PRODUCT)
    inverted = faiss.extract_index_ivf(index)
    inverted.cp.seed = _SEED
    inverted.cp.niter = 10
    # Orders codes for Hamming search, which is not used, and takes most of the training time.
    whole = faiss.downcast_index(inverted)
    if hasattr(whole, "do_polysemous_training"):
        whole.do_polysemous_training = False
    sample = vectors.sample(
        min(_SAMPLE_PER_LIST * inverted.nlist, sample_rows(vectors.num_rows, vectors.dimension, usual_sample_bytes()))
    )
    inverted.cp.max_points_per_centroid = max(1, len(sample) // inverted.nlist + 1)
    if faiss.get_num_gpus() > 0:
        on_gpus = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(vectors.dimension))
        inverted.clustering_index = on_gpus  # which does not keep it alive: the name does, until the training has ended
    index.train(sample)
    write_whole(path, lambda draft: faiss.write_index(index, str(draft)))
    return len(sample)
