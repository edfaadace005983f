"""Which kind of index fits how many vectors, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IndexKind = Literal["auto", "flat", "ivfpq", "hnsw"]

FLAT_LIMIT = 100_000
# Bounds the memory of training, whatever the corpus. Of 768 numbers it holds 350,000 vectors, which train 8192 lists.
SAMPLE_BYTES = 1 << 30
MIN_ROWS_PER_LIST = 39  # Faiss warns of fewer: centres learnt from a handful of vectors are those vectors
MIN_APPROXIMATE = 1000  # fewer vectors cannot train codes of 256 values, and are searched exactly in no time
_LARGE_COARSE = 16384  # from so many lists on, finding the nearest lists needs a graph of its own
_MIN_LISTS, _MAX_LISTS = 16, 65536
_NUMBERS_PER_CODE = 8


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


def choose_index(kind: IndexKind, num_vectors: int, dimension: int) -> IndexChoice:
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
    return _inverted_file(num_vectors, dimension)


def sample_rows(num_vectors: int, dimension: int) -> int:
    """How many vectors at most an index is trained on."""
    return min(num_vectors, SAMPLE_BYTES // (4 * dimension))


def _flat(why: str) -> IndexChoice:
    return IndexChoice("flat", "Flat", f"{why}: exact search, nothing to train, recall 1")


def _inverted_file(num_vectors: int, dimension: int) -> IndexChoice:
    num_lists = _num_lists(num_vectors, dimension)
    code_bytes = _code_bytes(dimension)
    coarse = f"IVF{num_lists}" if num_lists < _LARGE_COARSE else f"IVF{num_lists}_HNSW32"
    return IndexChoice(
        "ivfpq",
        f"{coarse},PQ{code_bytes}",
        f"{num_vectors} vectors: {num_lists} lists of about {num_vectors // num_lists}, codes of {code_bytes} bytes "
        f"instead of {4 * dimension}; what the codes lose is won back by ranking candidates by their stored vectors",
        num_candidates=100,
        breadth=max(4, num_lists // 64),
    )


def _num_lists(num_vectors: int, dimension: int) -> int:
    """A power of two near two square roots: lists are then as long as there are lists to compare with. Never so many
    that the sample has too few vectors to train each."""
    wanted = 2 * num_vectors**0.5 * 1.42
    trainable = sample_rows(num_vectors, dimension) // MIN_ROWS_PER_LIST
    found = _MIN_LISTS
    while found * 2 <= min(wanted, trainable, _MAX_LISTS):
        found *= 2
    return found


def _code_bytes(dimension: int) -> int:
    """Sub-quantizers: the largest number up to an eighth of the dimension that divides it."""
    return next(count for count in range(max(1, dimension // _NUMBERS_PER_CODE), 0, -1) if dimension % count == 0)
