"""An inverted file with compressed codes: trained once on a sample, filled shard by shard, merged on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

from index_builder.cluster.connection import is_connected
from index_builder.vector_shards import VectorShard, VectorShards
from index_builder.index.faiss_index import IndexChoice, sample_rows, usual_sample_bytes
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
    runs = [(work.path / "index" / f"{n:06d}.index", run) for n, run in enumerate(vectors.runs(SHARD_VECTORS))]
    with progress.stage("index", vectors.num_rows, "vector") as bar:
        for path, num_rows in _all_filled(trained, runs):
            filled.append(path)
            bar.update(num_rows)
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


Run = tuple[VectorShard, ...]


def _all_filled(trained: Path, runs: list[tuple[Path, Run]]) -> Iterator[tuple[Path, int]]:
    """Every filled copy and how many rows it holds, in order; by tasks of the cluster where one is connected."""
    if is_connected():
        from index_builder.cluster.filling import mapped_beside

        yield from mapped_beside(trained, _fill_alone, [(trained, path, run) for path, run in runs])
        return
    filler = Filler(trained)
    with ThreadPoolExecutor(filler.num_at_once) as pool:
        yield from pool.map(filler.fill_missing, *zip(*runs, strict=True))


def _fill_alone(trained: Path, path: Path, run: Run) -> tuple[Path, int]:
    """One task of a cluster."""
    return Filler(trained).fill_missing(path, run)


class Filler:
    """Makes copies of a trained index that hold the rows of a run: on every GPU one at a time, else on this processor.

    A GPU that cannot take an index of this shape or size is not asked again.
    """

    def __init__(self, trained: Path) -> None:
        self._trained = trained
        self._gpus: Queue[tuple[int, faiss.StandardGpuResources]] = Queue()
        for number in range(faiss.get_num_gpus()):
            self._gpus.put((number, faiss.StandardGpuResources()))
        self.num_at_once = max(1, self._gpus.qsize())
        self._on_processor = threading.Lock()  # which Faiss uses all cores of

    def fill_missing(self, path: Path, run: Run) -> tuple[Path, int]:
        """Write the copy with the rows of `run`, under their numbers in the whole matrix, unless it is there; its path
        and how many rows it holds.
        """
        if not path.exists():
            index = self._on_gpu(run)
            if index is None:
                with self._on_processor:
                    index = _filled(faiss.read_index(str(self._trained)), run)
            write_whole(path, lambda draft: faiss.write_index(index, str(draft)))
        return path, sum(shard.num_rows for shard in run)

    def _on_gpu(self, run: Run) -> faiss.Index | None:
        """The filled index, back in this machine's memory; None when there is no GPU that can take it."""
        try:
            number, resources = self._gpus.get_nowait()
        except Empty:
            return None
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True  # tables of codes of 56 bytes and more fit a multiprocessor in half precision only
        options.allowCpuCoarseQuantizer = True  # there is no graph over the lists on GPUs
        try:
            index = faiss.index_cpu_to_gpu(resources, number, faiss.read_index(str(self._trained)), options)
            found = faiss.index_gpu_to_cpu(_filled(index, run))
        except RuntimeError as error:
            log.warning("index.fill_on_cpu gpu=%d reason=%s", number, str(error).strip().splitlines()[0][:300])
            return None
        self._gpus.put((number, resources))
        return found


def _filled(index: faiss.Index, run: Run) -> faiss.Index:
    for shard in run:
        rows = shard.read()
        index.add_with_ids(rows, np.arange(shard.start, shard.start + len(rows)))
    return index


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
