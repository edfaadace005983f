"""Batches of items cut into passages by the cluster's tasks, in the order of the source."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask, TaskPoolStrategy
from ray.data.block import BlockMetadata

from index_builder.cluster import num_workers, this_machine
from index_builder.documents import ReadReport
from index_builder.documents.source import Source
from index_builder.passages.batch import BatchCutter, PassageBatch, item_batches

Row = dict[str, Any]


def cut_batches(
    opened: Callable[[], Source], cutter: BatchCutter, first_item: int, wanted_workers: int | None, reading: ReadReport
) -> Iterator[PassageBatch]:
    """The passages of every batch from `first_item` on; `reading` says, after each, how far the source was read.

    Args:
        opened: opens the source, in another process of this machine.
    """
    batches = ray.data.read_datasource(_Batches(opened, first_item), num_cpus=0, label_selector=this_machine())
    cutters = TaskPoolStrategy(size=num_workers(wanted_workers))
    answers = batches.map(_Cut(cutter), num_cpus=1, compute=cutters)
    for row in answers.iter_rows():
        batch, so_far = _unpack(row)
        for field in fields(ReadReport):
            setattr(reading, field.name, getattr(so_far, field.name))
        if batch is not None:
            yield batch


class _Batches(Datasource):
    """One read task that goes over the source once and gives a row a batch, then a last one without any."""

    def __init__(self, opened: Callable[[], Source], first_item: int) -> None:
        super().__init__()
        self._opened = opened
        self._first_item = first_item

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, *_: object, **__: object) -> list[ReadTask]:
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._read, unknown)]

    def _read(self) -> Iterator[pa.Table]:
        reading = ReadReport()
        for batch in item_batches(self._opened().items(reading), self._first_item):
            yield pa.table({"row": [_pack(batch, reading)]})
        yield pa.table({"row": [_pack(None, reading)]})


class _Cut:
    """A row of a batch as a row of its passages."""

    def __init__(self, cutter: BatchCutter) -> None:
        self._cutter = cutter

    def __call__(self, row: Row) -> Row:
        batch, reading = _unpack(row)
        return {"row": _pack(batch if batch is None else self._cutter(batch), reading)}


def _pack(batch: object, reading: ReadReport) -> bytes:
    """Bytes, whose size Ray can tell, while it would take an object for small whatever it holds."""
    return pickle.dumps((batch, reading))


def _unpack(row: Row) -> tuple[Any, ReadReport]:
    found: tuple[Any, ReadReport] = pickle.loads(row["row"])  # noqa: S301 - from our own tasks; Ray itself pickles
    return found
