"""One shard of passages as one shard of vectors. Plain functions on Arrow tables, so any cluster can run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.work_folder import write_whole
from server.retrieval.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMBEDDED = "{title}. {section}. {text}"


def embedded_texts(passages: pa.Table) -> list[str]:
    """What the encoder reads of every passage: its title and heading tell what "he" and "it" mean."""
    columns = (passages[name].to_pylist() for name in ("title", "section", "text"))
    return [
        f"{title}. {section}. {text}" if section else f"{title}. {text}"
        for title, section, text in zip(*columns, strict=True)
    ]


def read_shard(path: Path) -> pa.Table:
    """A passage shard, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def write_vectors(
    passages: Path, vectors: Path, encoder: Encoder, on_step: Callable[[int], object] | None = None
) -> None:
    """Encode the passage shard at `passages` into a float16 matrix at `vectors`, written whole."""
    encoded = encoder.encode(embedded_texts(read_shard(passages)), on_step).astype(np.float16)
    write_whole(vectors, lambda draft: _save(draft, encoded))


def _save(path: Path, matrix: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, matrix)
