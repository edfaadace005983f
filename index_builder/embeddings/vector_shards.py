"""The vector shards of a build as one long matrix that is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
