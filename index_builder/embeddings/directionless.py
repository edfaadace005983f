"""Passages whose vector is zero or not a number: they are near nothing, and must be found by nobody."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from index_builder.embeddings.vector_shard import read_shard, rows_of_shard
from index_builder.passages.passage_shards import write_table
from index_builder.work_folder import WorkFolder, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

NO_DIRECTION = "passage whose vector is zero or not a number"


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
