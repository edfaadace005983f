"""The Faiss index: which kind fits how many vectors, and why; and an inverted file with compressed codes, trained once
on a sample, filled shard by shard, merged on disk.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Literal

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

from index_builder.cluster import is_connected
from index_builder.embeddings import VectorShard, VectorShards
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, drafted, write_whole
from server.retrieval.index.vector_index import INDEX_FILE, LISTS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

IndexKind = Literal["auto", "flat", "ivfpq", "hnsw"]

FLAT_LIMIT = 100_000
# Bounds the memory of training, whatever the corpus: an eighth of the machine's, in powers of two, so that machines of
# one size choose alike. Of 768 numbers 1 GiB holds 350,000 vectors, which train 8192 lists, and 8 GiB train 65,536.
MIN_SAMPLE_BYTES, _MAX_SAMPLE_BYTES = 1 << 30, 32 << 30
MIN_ROWS_PER_LIST = 39  # Faiss warns of fewer: centres learnt from a handful of vectors are those vectors
MIN_APPROXIMATE = 1000  # fewer vectors cannot train codes of 256 values, and are searched exactly in no time
_MANY_VECTORS = 10_000_000  # from so many on, Faiss' own table takes 65,536 lists
_LARGE_COARSE = 16384  # from so many lists on, finding the nearest lists needs a graph of its own
_ID_BYTES = 8
_MIN_LISTS, _MAX_LISTS = 16, 65536
_NUMBERS_PER_CODE = (8, 16)  # that one byte stands for: the first where the codes fit a quarter of the memory


@dataclass(frozen=True)
class IndexChoice:
    """A kind, the string that Faiss builds it from, and the reason that a person is told.

    Attributes:
        num_candidates: rows to fetch and rank again by their stored vectors; 0: scores are exact already.
        breadth: nprobe of an inverted file, efSearch of a graph, before evaluation has measured which is best.
        num_kept: rows, from the first on, whose codes `write_kept` has kept: the others alone are added.
    """

    kind: str
    factory: str
    reason: str
    num_candidates: int = 0
    breadth: int = 0
    num_kept: int = 0

    @property
    def is_inverted_file(self) -> bool:
        """Whether it is trained, filled shard by shard and merged on disk."""
        return "IVF" in self.factory


class FactoryError(ValueError):
    """A string that Faiss builds no index from; the sentence names it."""


def named_factory(factory: str, dimension: int) -> IndexChoice:
    """The index of a string that a person who knows has given.

    Raises:
        FactoryError: Faiss knows none of that name for vectors of this dimension.
    """
    try:
        faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        told = str(error).strip().splitlines()[-1][:200]
        raise FactoryError(f"--factory {factory!r}: no index of Faiss for {dimension} numbers: {told}") from error
    if factory == "Flat":
        return _flat("asked for")
    kind = "ivfpq" if "IVF" in factory else "hnsw" if "HNSW" in factory else "other"
    return IndexChoice(
        kind, factory, "asked for with --factory", num_candidates=100, breadth=16 if kind != "other" else 0
    )


def choose_index(kind: IndexKind, num_vectors: int, dimension: int, sample_bytes: int | None = None) -> IndexChoice:
    """The index for `num_vectors` vectors of `dimension` numbers; the exact one where there are too few for another."""
    if kind in ("ivfpq", "hnsw") and num_vectors < MIN_APPROXIMATE:
        return _flat(f"{kind} was asked for, but {num_vectors} vectors are too few for it, {MIN_APPROXIMATE} are legal")
    if kind == "flat" or (kind == "auto" and num_vectors < FLAT_LIMIT):
        bound = "under" if num_vectors < FLAT_LIMIT else "over"
        return _flat(f"{num_vectors} vectors, {bound} {FLAT_LIMIT}")
    if kind == "hnsw":
        return IndexChoice(
            "hnsw",
            "HNSW32_SQfp16",
            f"asked for: a graph over half-precision vectors, fastest to search, but it is built in "
            f"{num_vectors * (dimension * 2 + 320) / 2**30:.1f} GiB of memory",
            num_candidates=50,
            breadth=64,
        )
    return _inverted_file(num_vectors, dimension, sample_bytes or usual_sample_bytes())


def usual_sample_bytes() -> int:
    """How large the sample that an index is trained on may be on this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = MIN_SAMPLE_BYTES
    while found * 2 <= min(memory // 8, _MAX_SAMPLE_BYTES):
        found *= 2
    return found


def sample_rows(num_vectors: int, dimension: int, sample_bytes: int) -> int:
    """How many vectors at most an index is trained on."""
    return min(num_vectors, sample_bytes // (4 * dimension))


def code_bytes_of(factory: str, dimension: int) -> int:
    """Bytes of a vector's code in an index of this kind, for an estimate."""
    if found := re.search(r"PQ(\d+)(?:x(\d+))?", factory):
        return int(found[1]) * int(found[2] or 8) // 8
    return dimension * (1 if "SQ8" in factory else 2 if "SQfp16" in factory else 4)


def _flat(why: str) -> IndexChoice:
    return IndexChoice("flat", "Flat", f"{why}: exact search, nothing to train, recall 1")


def _inverted_file(num_vectors: int, dimension: int, sample_bytes: int) -> IndexChoice:
    num_lists = _num_lists(num_vectors, dimension, sample_bytes)
    code_bytes = _code_bytes(num_vectors, dimension, budget=2 * sample_bytes)
    coarse = f"IVF{num_lists}" if num_lists < _LARGE_COARSE else f"IVF{num_lists}_HNSW32"
    return IndexChoice(
        "ivfpq",
        f"{coarse},PQ{code_bytes}",
        f"{num_vectors} vectors: {num_lists} lists of about {num_vectors // num_lists}, codes of {code_bytes} bytes "
        f"instead of {4 * dimension}; what the codes lose is won back by ranking candidates by their stored vectors",
        num_candidates=100,
        breadth=max(4, num_lists // 64),
    )


def _num_lists(num_vectors: int, dimension: int, sample_bytes: int) -> int:
    """A power of two near two square roots: lists are then as long as there are lists to compare with. Never so many
    that the sample has too few vectors to train each."""
    wanted = _MAX_LISTS if num_vectors >= _MANY_VECTORS else 2 * num_vectors**0.5 * 1.42
    trainable = sample_rows(num_vectors, dimension, sample_bytes) // MIN_ROWS_PER_LIST
    found = _MIN_LISTS
    while found * 2 <= min(wanted, trainable, _MAX_LISTS):
        found *= 2
    return found


def _code_bytes(num_vectors: int, dimension: int, budget: int) -> int:
    """Sub-quantizers: the largest number that divides the dimension, up to an eighth of it; fewer where the lists would
    not stay in memory, from which every search reads some.
    """
    for numbers in _NUMBERS_PER_CODE:
        found = next(count for count in range(max(1, dimension // numbers), 0, -1) if dimension % count == 0)
        if num_vectors * (found + _ID_BYTES) <= budget:
            break
    return found


SHARD_VECTORS = 1 << 18
_PIECE_BYTES = 1 << 30


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
    filled = sorted((work.path / "index").glob("kept*.index"))
    runs = [
        (work.path / "index" / f"{n:06d}.index", run)
        for n, run in enumerate(vectors.runs(SHARD_VECTORS, first_row=choice.num_kept))
    ]
    with progress.stage("index", vectors.num_rows, "vector") as bar:
        for path, num_rows in _all_filled(trained, runs):
            filled.append(path)
            bar.update(num_rows)
    with progress.stage("merge", vectors.num_rows, "vector") as bar:
        _merge(trained, filled, folder)
        bar.update(vectors.num_rows)  # one call into Faiss, which tells nothing on the way
    return [INDEX_FILE, LISTS_FILE]


def write_kept(folder: Path, work: WorkFolder, kept: NDArray[np.bool_], piece_bytes: int = _PIECE_BYTES) -> None:
    """Keep what the inverted file of an index folder was trained to, as the one to fill, and the codes of some of its
    rows, which become the first in their order: they are neither read nor encoded anew.

    Args:
        kept: [num_rows], which rows.
    """
    index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR)
    inverted = faiss.extract_index_ivf(index)
    lists = inverted.invlists
    inverted.own_invlists = False  # they are read while others take their place
    numbers = np.where(kept, np.cumsum(kept) - 1, -1)

    def write(path: Path, piece: faiss.InvertedLists) -> None:
        inverted.replace_invlists(piece, False)
        inverted.ntotal = index.ntotal = piece.compute_ntotal()
        write_whole(path, lambda draft: faiss.write_index(index, str(draft)))

    write(_trained(work), faiss.ArrayInvertedLists(inverted.nlist, inverted.code_size))
    for number, piece in enumerate(_pieces(lists, numbers, piece_bytes)):
        write(work.path / "index" / f"kept{number:06d}.index", piece)


def _pieces(
    lists: faiss.InvertedLists, numbers: NDArray[np.int64], piece_bytes: int
) -> Iterator[faiss.ArrayInvertedLists]:
    """The entries whose rows have a number, in inverted files of about so many bytes: each holds some of the lists."""
    piece = faiss.ArrayInvertedLists(lists.nlist, lists.code_size)
    held = 0
    for number in range(lists.nlist):
        size = lists.list_size(number)
        if not size:
            continue
        ids = numbers[faiss.rev_swig_ptr(lists.get_ids(number), size)]
        codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size).reshape(size, -1)
        mine = np.ascontiguousarray(ids[ids >= 0])
        if len(mine):
            entries = np.ascontiguousarray(codes[ids >= 0])
            piece.add_entries(number, len(mine), faiss.swig_ptr(mine), faiss.swig_ptr(entries))
        held += len(mine) * (lists.code_size + _ID_BYTES)
        if held >= piece_bytes:
            yield piece
            piece, held = faiss.ArrayInvertedLists(lists.nlist, lists.code_size), 0
    if held:
        yield piece


def _trained(work: WorkFolder) -> Path:
    return work.path / "index" / "trained.index"


Run = tuple[VectorShard, ...]


def _all_filled(trained: Path, runs: list[tuple[Path, Run]]) -> Iterator[tuple[Path, int]]:
    """Every filled copy and how many rows it holds, in order; by tasks of the cluster where one is connected."""
    if is_connected():
        from index_builder.cluster import mapped_beside

        yield from mapped_beside(trained, _fill_alone, [(trained, path, run) for path, run in runs])
        return
    if not runs:
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
            trained = faiss.read_index(str(self._trained))
            inverted = faiss.extract_index_ivf(trained)
            inverted.metric_type = inverted.quantizer.metric_type  # GPUs want both alike; codes and lists are the same
            index = faiss.index_cpu_to_gpu(resources, number, trained, options)
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
_COARSE_LINKS = 32


def untrained(factory: str, dimension: int) -> faiss.Index:
    """The index that Faiss makes of a string, by inner product. The lists of compressed codes are those of the nearest
    centres: by inner product, or of centres drawn to unit length, as many lists hold fewer of the true neighbours.
    """
    index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    if "IVF" not in factory:
        return index
    inverted = faiss.downcast_index(faiss.extract_index_ivf(index))
    inverted.cp.seed, inverted.cp.niter = _SEED, 10
    # Orders codes for Hamming search, which is not used, and takes most of the training time.
    if hasattr(inverted, "do_polysemous_training"):
        inverted.do_polysemous_training = False
    coarse = faiss.downcast_index(inverted.quantizer)
    if type(inverted) is faiss.IndexIVFPQ and isinstance(coarse, faiss.IndexFlat | faiss.IndexHNSWFlat):
        is_graph = isinstance(coarse, faiss.IndexHNSWFlat)
        nearest = faiss.IndexHNSWFlat(coarse.d, _COARSE_LINKS) if is_graph else faiss.IndexFlatL2(coarse.d)
        inverted.quantizer = nearest
        nearest.this.disown()  # the index deletes it, as it would the one that Faiss made
        inverted.cp.spherical = False
    return index


def train_index(choice: IndexChoice, vectors: VectorShards, path: Path) -> int:
    """Train an inverted file on a sample and write it, empty, to `path`; how many vectors it was trained on."""
    index = untrained(choice.factory, vectors.dimension)
    inverted = faiss.extract_index_ivf(index)
    sample = vectors.sample(
        min(_SAMPLE_PER_LIST * inverted.nlist, sample_rows(vectors.num_rows, vectors.dimension, usual_sample_bytes()))
    )
    train_on(index, sample, max_per_list=len(sample) // inverted.nlist + 1)
    write_whole(path, lambda draft: faiss.write_index(index, str(draft)))
    return len(sample)


def train_on(index: faiss.Index, sample: NDArray[np.float32], max_per_list: int) -> None:
    """Train an inverted file, on GPUs where there are some.

    Args:
        sample: [num_rows, dimension].
    """
    inverted = faiss.extract_index_ivf(index)
    inverted.cp.max_points_per_centroid = max(1, max_per_list)
    flat = faiss.IndexFlatIP(inverted.d) if inverted.cp.spherical else faiss.IndexFlatL2(inverted.d)
    if faiss.get_num_gpus() > 0:
        flat = faiss.index_cpu_to_all_gpus(flat)
    inverted.quantizer_trains_alone = "\0"  # its centres are learnt with the index that follows, then added to it
    inverted.clustering_index = flat  # which does not keep it alive: the name does, until the training has ended
    index.train(sample)
