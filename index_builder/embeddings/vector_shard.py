"""One shard of passages as one shard of vectors. Plain functions on Arrow tables, so any cluster can run them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from index_builder.work_folder import write_whole
from server.retrieval.encoder.encoder import Encoder, Precision, pick_device, pick_precision

EMBEDDED = "{title}. {section}. {text}"


def embedded_texts(passages: pa.Table) -> list[str]:
    """What the encoder reads of every passage: its title and heading, if any, tell what "he" and "it" mean."""
    columns = (passages[name].to_pylist() for name in ("title", "section", "text"))
    return [". ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]


def read_shard(path: Path) -> pa.Table:
    """A passage shard, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def rows_of_shard(path: Path) -> int:
    """How many passages a passage shard holds."""
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        return sum(file.get_batch(batch).num_rows for batch in range(file.num_record_batches))


def encoded_texts(texts: list[str], encoder: Encoder, on_step: Callable[[int], object] | None = None) -> bytes:
    """The content of a vector shard: a .npy file with the float16 matrix of these texts."""
    file = io.BytesIO()
    np.save(file, encoder.encode(texts, on_step).astype(np.float16))
    return file.getvalue()


def write_vectors(
    passages: Path, vectors: Path, encoder: Encoder, on_step: Callable[[int], object] | None = None
) -> None:
    """Encode the passage shard at `passages` into a vector shard at `vectors`, written whole."""
    content = encoded_texts(embedded_texts(read_shard(passages)), encoder, on_step)
    write_whole(vectors, lambda draft: draft.write_bytes(content))


def resolved_precision(precision: Precision) -> Precision:
    """What an encoder on this machine computes in when it is asked for `precision`."""
    return pick_precision(precision, pick_device("auto"))
