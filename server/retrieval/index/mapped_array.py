"""Arrays in .npy files, memory-mapped read-only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def mapped_array(path: Path, dtype: type[Number], num_dimensions: int) -> NDArray[Number]:
    """The array in `path`; opening it maps the file and reads its header only.

    Raises:
        RetrievalError: the file is missing, is no .npy file, or holds something else.
    """
    try:
        found: NDArray[Number] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RetrievalError(f"index file {path} cannot be opened: {error}") from error
    if found.dtype != dtype or found.ndim != num_dimensions:
        raise RetrievalError(
            f"index file {path} cannot be opened: it holds {found.dtype}{found.shape}, not {dtype.__name__}s"
        )
    return found
