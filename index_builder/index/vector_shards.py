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
        """Rows spread evenly over all shards."""
        step = max(1, -(-self.num_rows // num_wanted))
        parts = [np.load(shard.path)[(-shard.start) % step :: step] for shard in self.shards]
        found: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
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
