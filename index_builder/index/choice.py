"""Which kind of index fits how many vectors, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IndexKind = Literal["auto", "flat", "ivfpq", "hnsw"]
FLAT_LIMIT = 100_000


@dataclass(frozen=True)
class IndexChoice:
    """A kind, the string Faiss builds it from, and the reason a person is told."""

    kind: str
    factory: str
    reason: str
    num_lists: int = 0


def choose_index(kind: IndexKind, num_vectors: int, dimension: int) -> IndexChoice:
    """The index for `num_vectors` vectors of `dimension` numbers."""
    if kind == "flat" or (kind == "auto" and num_vectors < FLAT_LIMIT):
        return IndexChoice("flat", "Flat", f"{num_vectors} vectors: exact search needs no training and is fast enough")
    raise NotImplementedError(kind, dimension)
