"""Documents to passage shards: parsed and cut by many processes, written in order by one.

Which passages a shard holds depends on the source and the plan alone, never on the number of processes or on where an
earlier run was killed: items are taken in fixed batches, and a shard ends with a batch.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa

from index_builder.documents import ReadReport
from index_builder.documents.records import USUAL_COLUMNS, Columns
from index_builder.documents.source import SAMPLE, Source, local_source, open_source, source_bytes
from index_builder.passages.batch import (
    SHARD_SCHEMA,
    BatchCutter,
    PassageBatch,
    append_failures,
    item_batches,
    read_failures,
)
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers, ordered_map
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, write_whole

log = logging.getLogger(__name__)
_FACTS = b"shard"
_PARALLEL_BYTES = 32 << 20
SMALL_SOURCE_BYTES = 100 << 20
_EMPTY = 0


class PassageTotals(msgspec.Struct):
    """How far a source was read and what came of it, from its beginning on."""

    source: str
    next_item: int = 0
    num_documents: int = 0
    num_passages: int = 0
    skipped: dict[str, int] = {}
    examples: dict[str, list[str]] = {}


@dataclass(frozen=True)
class PassageRequest:
    """What is cut, and how.

    Attributes:
        columns: of a source that is a table.
        shard_passages: at least how many a shard holds; None: by the source's size.
        quarantine: a file of documents that are known to fail, as that of the index which is there.
    """

    source: str
    shape: WindowShape = field(default_factory=WindowShape)
    columns: Columns = USUAL_COLUMNS
    shard_passages: int | None = None
    quarantine: Path | None = None


def usual_shard_passages(source: Source) -> int:
    """Passages a shard: small sources lose little when killed, large ones make few files."""
    return 1024 if source_bytes(source) < SMALL_SOURCE_BYTES else 16384


def write_passages(
    source: Source, request: PassageRequest, work: WorkFolder, workers: Workers, progress: Progress
) -> PassageTotals:
    """Write the shards of an open source that are missing and say what all of them hold; a finished stage is only
    looked up. Batches are cut by this machine's processes, or by the Ray cluster that is connected.
    """
    if done := work.done("passages"):
        return msgspec.convert(done, PassageTotals)
    writer = _ShardWriter(work, request.source, request.shard_passages or usual_shard_passages(source))
    reading = ReadReport()
    known = read_failures(request.quarantine) | read_failures(work.quarantine)
    cutter = BatchCutter(source, request.shape, known)
    with progress.stage("passages", source_bytes(source), "B") as bar:
        first_item = writer.totals.next_item
        cut = _cut_in_processes if workers.ray is None else _cut_on_cluster
        batches = cut(cutter, request, first_item, workers=workers, reading=reading)
        for batch in batches:
            writer.add(batch)
            bar.update(reading.source_bytes - bar.n)
        writer.finish(reading)
        bar.update(reading.source_bytes - bar.n)
    totals = writer.totals
    log.info(
        "passages.done documents=%d passages=%d skipped=%s", totals.num_documents, totals.num_passages, totals.skipped
    )
    work.mark_done("passages", msgspec.to_builtins(totals))
    return totals


def _cut_in_processes(
    cutter: BatchCutter, request: PassageRequest, first_item: int, workers: Workers, reading: ReadReport
) -> Iterator[PassageBatch]:
    del request
    batches = item_batches(cutter.source.items(reading), first_item)
    return ordered_map(cutter, batches, _num_processes(cutter.source, workers))


def _cut_on_cluster(
    cutter: BatchCutter, request: PassageRequest, first_item: int, workers: Workers, reading: ReadReport
) -> Iterator[PassageBatch]:
    from index_builder.passages.on_cluster import cut_batches

    # A source goes to other processes without its list of files, so the task that reads them opens it anew.
    name = request.source if request.source == SAMPLE else str(local_source(request.source).absolute())
    opened = partial(open_source, name, request.columns)
    return cut_batches(opened, cutter, first_item, wanted_workers=workers.number, reading=reading)


def _num_processes(source: Source, workers: Workers) -> int:
    """One process cuts what takes it less time than others take to start."""
    if source_bytes(source) < _PARALLEL_BYTES:
        return 1
    return workers.num_processes


def read_totals(shard: Path) -> PassageTotals:
    """The totals up to and including a finished shard, from its footer."""
    with pa.memory_map(str(shard)) as source:
        metadata = pa.ipc.open_file(source).schema.metadata
    return msgspec.json.decode(metadata[_FACTS], type=PassageTotals)


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow file with the table's own schema and metadata."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


class _ShardWriter:
    """Collects batches and writes a shard whenever enough passages have come; goes on after the shards that exist."""

    def __init__(self, work: WorkFolder, source_name: str, shard_passages: int) -> None:
        shards = work.passage_shards()
        self._work = work
        self._shard_passages = shard_passages
        self._next_shard = len(shards)
        self._ids = UniqueIds()
        self._waiting: list[pa.RecordBatch] = []
        self._report = ReadReport()
        self.totals = PassageTotals(source_name)
        if shards:
            self._resume(shards)

    def add(self, batch: PassageBatch) -> None:
        if batch.failures:
            append_failures(self._work.quarantine, batch.failures)
        rows = self._with_unique_ids(batch)
        self._waiting.append(rows)
        self.totals.next_item = batch.next_item
        self.totals.num_documents += batch.report.num_documents
        self.totals.num_passages += rows.num_rows
        self._report.add(batch.report)
        if sum(waiting.num_rows for waiting in self._waiting) >= self._shard_passages:
            self._write()

    def finish(self, reading: ReadReport) -> None:
        """Write the last shard, then count what reading left out: a run that goes on reads the whole source again, so
        no shard's footer may hold those counts.
        """
        if any(waiting.num_rows for waiting in self._waiting):
            self._write()
        self._report.add(reading)
        self._settle_report()

    def _resume(self, shards: list[Path]) -> None:
        self.totals = read_totals(shards[-1])
        self._report.skipped.update(self.totals.skipped)
        self._report.examples = self.totals.examples
        for shard in shards:
            with pa.memory_map(str(shard)) as source:
                for document_id in pa.ipc.open_file(source).read_all()["document_id"].unique().to_pylist():
                    self._ids.take(document_id)

    def _with_unique_ids(self, batch: PassageBatch) -> pa.RecordBatch:
        """The batch's rows, in which a document whose id was seen before has got a new one."""
        renamed = [(old, self._ids.take(old), num_rows) for old, num_rows in batch.documents]
        if all(old == new for old, new, _ in renamed):
            return batch.rows
        document_ids = [new for _, new, num_rows in renamed for _ in range(num_rows)]
        passage_ids = [f"{new}:{ordinal}" for _, new, num_rows in renamed for ordinal in range(num_rows)]
        columns = {name: batch.rows.column(name) for name in batch.rows.schema.names}
        columns |= {"document_id": pa.array(document_ids), "passage_id": pa.array(passage_ids)}
        return pa.RecordBatch.from_pydict(columns, schema=SHARD_SCHEMA)

    def _settle_report(self) -> None:
        self.totals.skipped = dict(self._report.skipped)
        self.totals.examples = self._report.examples

    def _write(self) -> None:
        self._settle_report()
        metadata = {_FACTS: msgspec.json.encode(self.totals)}
        table = pa.Table.from_batches(self._waiting).combine_chunks().replace_schema_metadata(metadata)
        write_whole(self._work.passage_shard(self._next_shard), lambda draft: write_table(draft, table))
        self._next_shard += 1
        self._waiting = []


class UniqueIds:
    """Every id once; a later document of the same id is called `id~2`, `id~3`...

    Holds 8 to 32 bytes an id (open addressing over 64-bit hashes), whatever their length.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._num_ids = 0

    def __len__(self) -> int:
        return self._num_ids

    def take(self, document_id: str) -> str:
        """`document_id`, or the first free variant of it; it is taken afterwards."""
        candidate = document_id
        copy = 1
        while not self._add(candidate):
            copy += 1
            candidate = f"{document_id}~{copy}"
        return candidate

    def _add(self, document_id: str) -> bool:
        if self._num_ids * 2 >= len(self._slots):
            self._double()
        key = int.from_bytes(hashlib.blake2b(document_id.encode(), digest_size=8).digest(), "little") or 1
        slot = self._slot(key)
        if self._slots[slot] == key:
            return False
        self._slots[slot] = key
        self._num_ids += 1
        return True

    def _slot(self, key: int) -> int:
        mask = len(self._slots) - 1
        slot = key & mask
        while self._slots[slot] not in (_EMPTY, key):
            slot = (slot + 1) & mask
        return slot

    def _double(self) -> None:
        keys = [key for key in self._slots if key != _EMPTY]
        self._slots = array("Q", bytes(2 * 8 * len(self._slots)))
        for key in keys:
            self._slots[self._slot(key)] = key
