"""All passage shards as vector shards: on every GPU, by several CPU processes or by the actors of a Ray cluster, one
encoder each; shards that exist are kept.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from index_builder.cluster import num_workers, this_machine
from index_builder.passages.passage_shards import write_table
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.encoder.encoder import Device, Encoder, Precision, pick_device, pick_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tqdm import tqdm

log = logging.getLogger(__name__)

EMBEDDED = "{title}. {section}. {text}"
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

    def runs(self, max_rows: int, first_row: int = 0) -> Iterator[tuple[VectorShard, ...]]:
        """Neighbouring shards in runs of about `max_rows` rows, from the shard on that begins with `first_row`."""
        run: list[VectorShard] = []
        for shard in (each for each in self.shards if each.start >= first_row):
            run.append(shard)
            if sum(member.num_rows for member in run) >= max_rows:
                yield tuple(run)
                run = []
        if run:
            yield tuple(run)


MAX_CPU_PROCESSES = 16
Job = tuple[Path, Path]  # a passage shard and where its vectors go


class EmbeddingError(RuntimeError):
    """An encoding process died; finished shards stay, and the same command goes on from them."""


@dataclass(frozen=True)
class EmbedPlan:
    """Who encodes: processes of one CPU thread each, or processes on GPUs in turn.

    Attributes:
        gpus: as CUDA_VISIBLE_DEVICES names them; none: CPUs encode.
    """

    encoder: str
    precision: Precision
    num_processes: int
    gpus: tuple[str, ...] = ()

    def device(self) -> Device:
        """Where each process encodes; a GPU that is there but fails must not turn into a slow CPU."""
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True)
class EmbedRequest:
    """Which encoder makes the vectors, and in what it computes."""

    encoder: str
    precision: Precision = "auto"


def plan_embedding(request: EmbedRequest, workers: Workers) -> EmbedPlan:
    """The processes for this machine: as many as asked for, else one a GPU, else one a core up to 16."""
    import torch

    encoder, precision = request.encoder, resolved_precision(request.precision)
    if torch.cuda.is_available():
        gpus = _visible_gpus(torch.cuda.device_count())
        return EmbedPlan(encoder, precision, workers.number or len(gpus), gpus=gpus)
    return EmbedPlan(encoder, precision, workers.number or min(workers.num_processes, MAX_CPU_PROCESSES))


def _visible_gpus(count: int) -> tuple[str, ...]:
    """The `count` GPUs that this process may use, under the names that its children must use for them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else [str(number) for number in range(count)]
    return tuple(name.strip() for name in names[:count])


def embed_passages(work: WorkFolder, num_passages: int, plan: EmbedPlan, progress: Progress) -> None:
    """Write the vector shards that are missing, by this machine's processes.

    Raises:
        RetrievalError: the encoder cannot be loaded.
        WorkFolderError: an earlier run's vectors are of another precision.
        EmbeddingError: an encoding process died.
    """
    _one_precision(work, plan.precision)
    missing = _missing(work)
    with _stage(progress, num_passages, missing) as bar:
        jobs = [(work.passage_shard(number), work.vector_shard(number)) for number in missing]
        if len(jobs) > 1 and plan.num_processes > 1:
            _encode_in_processes(jobs, plan, bar)
        elif jobs:
            encoder = Encoder(plan.encoder, plan.device(), precision=plan.precision)
            for passages, vectors in jobs:
                write_vectors(passages, vectors, encoder, on_step=bar.update)


def embed_on_cluster(
    work: WorkFolder, num_passages: int, request: EmbedRequest, workers: Workers, progress: Progress
) -> None:
    """Write the vector shards that are missing, encoded by the Ray cluster that is connected.

    Raises:
        ClusterError: see `connected`.
        WorkFolderError: an earlier run's vectors are of another precision.
    """
    precision = _one_precision(work, cluster_precision(request.precision))
    missing = _missing(work)
    with _stage(progress, num_passages, missing) as bar:
        if missing:
            shards = {number: work.passage_shard(number) for number in missing}
            for number, content in encoded_shards(shards, request.encoder, precision, wanted_workers=workers.number):
                write_whole(work.vector_shard(number), partial(Path.write_bytes, data=content))
                bar.update(missing[number])


def _one_precision(work: WorkFolder, precision: Precision) -> Precision:
    """`precision`, claimed for all shards: a run that goes on elsewhere must not mix in vectors of another."""
    work.claim("precision", {"precision": precision})
    return precision


def _missing(work: WorkFolder) -> dict[int, int]:
    """How many passages each shard holds that has no vectors yet, by its number."""
    numbers = range(len(work.passage_shards()))
    return {
        number: rows_of_shard(work.passage_shard(number))
        for number in numbers
        if not work.vector_shard(number).exists()
    }


def _stage(progress: Progress, num_passages: int, missing: dict[int, int]) -> AbstractContextManager[tqdm]:
    return progress.stage("embed", num_passages, "passage", num_passages - sum(missing.values()))


def _encode_in_processes(jobs: list[Job], plan: EmbedPlan, bar: tqdm) -> None:
    context = multiprocessing.get_context("spawn")
    next_job, num_encoded = context.Value("q", 0), context.Value("q", 0)
    processes: list[BaseProcess] = [
        context.Process(target=_encode_jobs, args=(rank, plan, jobs, next_job, num_encoded), daemon=True)
        for rank in range(min(plan.num_processes, len(jobs)))
    ]
    num_before = bar.n
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            next(process for process in processes if process.is_alive()).join(timeout=0.5)
            bar.update(num_before + num_encoded.value - bar.n)
            _refuse_dead(processes)
        _refuse_dead(processes)
    finally:
        for process in processes:
            process.kill()


def _refuse_dead(processes: list[BaseProcess]) -> None:
    for process in processes:
        if process.exitcode:
            raise EmbeddingError(
                f"encoding process {process.pid} ended with exit code {process.exitcode} (-9 is often a lack of "
                "memory: try fewer --workers); finished shards are kept, the same command goes on from them"
            )


def _encode_jobs(
    rank: int, plan: EmbedPlan, jobs: list[Job], next_job: Synchronized[int], num_encoded: Synchronized[int]
) -> None:
    """One process: take the next job until none is left, or until the parent is gone."""
    if plan.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = plan.gpus[rank % len(plan.gpus)]
    parent = os.getppid()

    def count(num_texts: int) -> None:
        if os.getppid() != parent:
            raise SystemExit("the build that started this process is gone")
        with num_encoded.get_lock():
            num_encoded.value += num_texts

    encoder = Encoder(plan.encoder, plan.device(), precision=plan.precision)
    while (job := _take(next_job)) < len(jobs):
        write_vectors(*jobs[job], encoder, count)


def _take(next_job: Synchronized[int]) -> int:
    with next_job.get_lock():
        next_job.value += 1
        return next_job.value - 1


_READERS = 2  # shards read ahead
Row = dict[str, Any]


def cluster_precision(precision: Precision) -> Precision:
    """What an encoder of the cluster computes in when it is asked for `precision`."""
    import ray

    on_gpus = _has_gpus()
    resolve = ray.remote(num_gpus=1 if on_gpus else 0, num_cpus=0 if on_gpus else 1)(resolved_precision)
    found: Precision = ray.get(resolve.remote(precision))
    return found


def encoded_shards(
    shards: dict[int, Path], encoder: str, precision: Precision, wanted_workers: int | None
) -> Iterator[tuple[int, bytes]]:
    """(number, its .npy file's content) of every passage shard; shards are read and returned here, so that the
    cluster's machines need no common file system.
    """
    import ray
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

    on_gpus = _has_gpus()
    numbers = [{"number": number, "path": str(path)} for number, path in shards.items()]
    texts = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map(
        _read_texts, compute=TaskPoolStrategy(size=_READERS), num_cpus=0, label_selector=this_machine()
    )
    encoded = texts.map(
        _EncodeTexts,  # type: ignore[arg-type]  # a class is legal: Ray makes one object of it an actor
        fn_constructor_args=(encoder, precision),
        compute=ActorPoolStrategy(size=min(num_workers(wanted_workers), len(numbers))),
        num_gpus=1 if on_gpus else None,
        num_cpus=None if on_gpus else 1,
    )
    for row in encoded.iter_rows():
        yield row["number"], row["file"]


def _has_gpus() -> bool:
    import ray

    return bool(ray.cluster_resources().get("GPU", 0) > 0)


def _read_texts(row: Row) -> Row:
    return {"number": row["number"], "texts": embedded_texts(read_shard(Path(row["path"])))}


class _EncodeTexts:
    """One actor: loads the encoder once, then takes shard after shard."""

    def __init__(self, encoder: str, precision: Precision) -> None:
        self._encoder = Encoder(encoder, precision=precision)

    def __call__(self, row: Row) -> Row:
        return {"number": row["number"], "file": encoded_texts(list(row["texts"]), self._encoder)}
