"""Which kind of index fits how many vectors, and why."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

import faiss

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
    """

    kind: str
    factory: str
    reason: str
    num_candidates: int = 0
    breadth: int = 0

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
