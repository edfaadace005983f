"""One shard of passages as one shard of vectors. Plain functions on Arrow tables, so any cluster can run them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.passages.passage_shards import write_table
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.encoder.encoder import Encoder, Precision, pick_device, pick_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray


EMBEDDED = "{title}. {section}. {text}"
log = logging.getLogger(__name__)
NO_DIRECTION = "passage whose vector is zero or not a number"


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


def drop_directionless(work: WorkFolder) -> int:
    """Take such passages out of the shards, and name them; how many there were, an earlier run's among them."""
    num_dropped = 0
    for number, path in enumerate(work.vector_shards()):
        vectors = np.load(path)
        bad = ~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))
        if bad.any():
            _drop(work, number, vectors, bad=bad)
        num_dropped += _num_dropped(work, number)
    return num_dropped


def _drop(work: WorkFolder, number: int, vectors: NDArray[np.float16], bad: NDArray[np.bool_]) -> None:
    """Passages first: a run that stopped between the two finds fewer of them than vectors, by as many as are bad."""
    path = work.passage_shard(number)
    if rows_of_shard(path) == len(vectors):
        table = read_shard(path)
        for name in table["passage_id"].filter(pa.array(bad)).to_pylist():
            log.warning("passage.skipped id=%s cause=%s", name, NO_DIRECTION)
        write_whole(_count_path(work, number), partial(Path.write_text, data=str(int(bad.sum()))))
        kept = table.filter(pa.array(~bad)).combine_chunks().replace_schema_metadata(table.schema.metadata)
        write_whole(path, partial(write_table, table=kept))
    write_whole(work.vector_shard(number), partial(_save, matrix=vectors[~bad]))


def _num_dropped(work: WorkFolder, number: int) -> int:
    path = _count_path(work, number)
    return int(path.read_text()) if path.exists() else 0


def _count_path(work: WorkFolder, number: int) -> Path:
    return work.path / "vectors" / f"{number:06d}.dropped"


def _save(path: Path, matrix: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, matrix)


@dataclass(frozen=True)
class VectorShard:
    """Rows `[start, start + num_rows)` of the matrix, in one .npy file."""

    path: Path
    start: int
    num_rows: int

    def read(self) -> NDArray[np.float32]:  # [num_rows, dimension]
        """The rows, from the file and not from a mapping, so that they do not stay in memory."""
        found: NDArray[np.float32] = np.load(self.path).astype(np.float32)
        return found


@dataclass(frozen=True)
class VectorShards:
    """All shards in order."""

    shards: tuple[VectorShard, ...]
    num_rows: int
    dimension: int

    @classmethod
    def of(cls, paths: list[Path]) -> VectorShards:
        """The shards at `paths`; their headers are read only."""
        shards: list[VectorShard] = []
        num_rows = dimension = 0
        for path in paths:
            rows, dimension = np.load(path, mmap_mode="r").shape
            shards.append(VectorShard(path, num_rows, rows))
            num_rows += rows
        return cls(tuple(shards), num_rows, dimension)

    def sample(self, num_wanted: int) -> NDArray[np.float32]:  # [num_wanted or num_rows, dimension]
        """Rows spread evenly over all shards; beside them, one shard at a time is in memory."""
        num_rows = min(num_wanted, self.num_rows)
        numbers = np.arange(num_rows, dtype=np.int64) * self.num_rows // max(1, num_rows)
        found = np.empty((num_rows, self.dimension), dtype=np.float32)
        for shard in self.shards:
            first, last = np.searchsorted(numbers, (shard.start, shard.start + shard.num_rows))
            found[first:last] = np.load(shard.path)[numbers[first:last] - shard.start]
        return found

    def runs(self, max_rows: int) -> Iterator[tuple[VectorShard, ...]]:
        """Neighbouring shards in runs of about `max_rows` rows."""
        run: list[VectorShard] = []
        for shard in self.shards:
            run.append(shard)
            if sum(member.num_rows for member in run) >= max_rows:
                yield tuple(run)
                run = []
        if run:
            yield tuple(run)
