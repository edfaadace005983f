"""All passage shards as vector shards: on every GPU, or by several CPU processes; shards that exist are kept."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING

from index_builder.vector_shards import resolved_precision, rows_of_shard, write_vectors
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.encoder.encoder import Device, Encoder, Precision

if TYPE_CHECKING:
    from tqdm import tqdm

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
    from index_builder.cluster.embeddings import cluster_precision, encoded_shards

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
