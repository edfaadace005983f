"""Which kind of device a group computes on, and which cores each of its ranks."""

from __future__ import annotations

import logging
import os

import torch

log = logging.getLogger(__name__)


def device_kind(wanted: str, world: int) -> str:
    """Cuda or cpu, where `wanted` is auto, cpu or cuda: a GPU only where each of `world` ranks has one of its own."""
    has_all = wanted != "cpu" and torch.cuda.is_available() and torch.cuda.device_count() >= world
    return "cuda" if has_all else "cpu"


def cores_of(rank: int, world: int, threads: int, cores: list[int]) -> list[int] | None:
    """The rank's own `threads` of `cores`; None when it should not be tied to any.

    Ranks wait for each other in the all-reduce by spinning. When the system puts two of them on one core, even for a
    moment, both lose it. On a busy machine with two cores, one pair of runs was 1.3 times as fast at decoding with
    cores of their own, another the same. A single rank waits for nobody, and ranks without enough cores must share.

    A group that could have more cores than it takes is not tied either: where a quota of processor time is all that
    holds it, other groups see the same cores, and all of them would tie themselves to the first few.
    """
    if world == 1 or threads != len(cores) // world:
        return None
    return cores[rank * threads : (rank + 1) * threads]


def keep_to_own_cores(rank: int, world: int, threads: int) -> None:
    """Tie the calling thread, and those it starts from now on, to the rank's own cores."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = cores_of(rank, world, threads, cores=sorted(os.sched_getaffinity(0)))
    if cores is not None:
        os.sched_setaffinity(0, cores)
        log.info("rank.cores rank=%d cores=%s", rank, cores)
