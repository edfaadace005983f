"""The vectors of a published index, from its arrays or out of its Faiss index, read some rows at a time."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import faiss
import numpy as np

from index_builder.importing.published import LayoutError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PublishedVectors(Protocol):
    """Vectors by row, in the passages' order, not yet of unit length.

    Attributes:
        origin: where they come from, for messages.
        least_similarity: what the encoder's own vector of a passage must have to the one here, at the median.
    """

    origin: str
    least_similarity: float

    @property
    def num_rows(self) -> int:
        """How many there are."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows, which ascend."""
        ...


class ArrayVectors:
    """Vectors in .npy files, one file after another, memory-mapped.

    Raises:
        LayoutError: a file is no matrix of floating-point numbers, or they differ in width.
    """

    least_similarity = 0.9

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._arrays = [_matrix(path) for path in paths]
        self._starts = np.cumsum([0, *(len(array) for array in self._arrays)])
        self.origin = paths[0].name if len(paths) == 1 else f"{len(paths)} arrays from {paths[0].name} on"
        for path, array in zip(paths, self._arrays, strict=True):
            if array.shape[1] != self.dimension:
                raise LayoutError(
                    f"{path.name} holds vectors of {array.shape[1]} numbers, {self.origin} {self.dimension}"
                )

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return int(self._starts[-1])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._arrays[0].shape[1])

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows, which ascend; their pages are let go again."""
        cuts = np.searchsorted(numbers, self._starts)
        found = np.empty((len(numbers), self.dimension), dtype=np.float32)
        for array, start, first, last in zip(self._arrays, self._starts, cuts, cuts[1:], strict=False):
            if first < last:
                found[first:last] = array[numbers[first:last] - start]
                _forget_pages(array)
        return found


class IndexVectors:
    """Vectors that a Faiss index gives back: exact where it stores them whole, near ones where it compresses.

    Holds 8 bytes a vector for an inverted file, to find each in its list.

    Raises:
        LayoutError: the file is no Faiss index.
    """

    least_similarity = 0.6

    def __init__(self, path: Path) -> None:
        self.origin = path.name
        self._can_find = False
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise LayoutError(f"{path} cannot be opened as a Faiss index: {_first_line(error)}") from error

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._index.d)

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The vectors of these rows.

        Raises:
            LayoutError: the index cannot give its vectors back.
        """
        try:
            self._prepare()
            found: NDArray[np.float32] = self._index.reconstruct_batch(numbers)
        except RuntimeError as error:
            raise LayoutError(
                f"{self.origin} cannot give its vectors back ({_first_line(error)}); add the arrays of vectors to the "
                "folder, or take --vectors encoder, which embeds the passages anew"
            ) from error
        return found

    def _prepare(self) -> None:
        """An inverted file must first learn in which list each vector is."""
        inverted = None if self._can_find else faiss.try_extract_index_ivf(self._index)
        if inverted is not None:
            inverted.make_direct_map()
        self._can_find = True


def unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:  # [num_rows, dimension]
    """`vectors` at length 1; all zeros where a vector has no direction: it is zero, or not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    good = np.isfinite(lengths) & (lengths > 0)
    found = np.where(good[:, None], vectors, 0) / np.where(good, lengths, 1)[:, None]
    return found.astype(np.float32, copy=False)


def _matrix(path: Path) -> NDArray[np.floating]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LayoutError(f"{path} cannot be opened as an array: {error}") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise LayoutError(
            f"{path} holds {array.dtype}{list(array.shape)}; legal are matrices of floating-point numbers"
        )
    return array


def _forget_pages(array: NDArray[np.floating]) -> None:
    mapping = getattr(array, "_mmap", None)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0][:300]
