"""The passages' unit vectors as they were built: float16 rows, memory-mapped."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.index.mapped_array import mapped_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


VECTORS_FILE = "vectors.npy"


class StoredVectors:
    """Rows by number; opening maps the file. Safe to read from many threads.

    Raises:
        RetrievalError: the file is missing or is no matrix of float16.
    """

    def __init__(self, path: Path) -> None:
        self._rows = mapped_array(path, np.float16, 2)  # [num_passages, dimension]

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._rows.shape[1])

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows."""
        found: NDArray[np.float32] = self._rows[numbers].astype(np.float32)
        return found

    def blocks(self, num_rows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first row, rows) one after another, for exact search over everything; pages are let go behind it."""
        for start in range(0, len(self), num_rows):
            yield start, self._rows[start : start + num_rows].astype(np.float32)
            self.forget_pages()

    def forget_pages(self) -> None:
        """Take the pages read so far out of this process's resident memory; the system keeps them cached."""
        mapping = getattr(self._rows, "_mmap", None)
        if mapping is not None:
            mapping.madvise(mmap.MADV_DONTNEED)
