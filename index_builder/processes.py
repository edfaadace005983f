"""A function mapped over a stream by many processes: answers in order, few items in flight."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Workers:
    """Who works: processes of this machine, or the tasks and actors of a Ray cluster.

    Attributes:
        number: how many; None: one a GPU, else one a core.
        ray: the cluster's address, or "local"; None: this machine's processes.
    """

    number: int | None = None
    ray: str | None = None

    @property
    def num_processes(self) -> int:
        """Processes on this machine's cores."""
        return self.number or len(os.sched_getaffinity(0))


def ordered_map(function: Callable[[Item], Answer], items: Iterable[Item], num_processes: int) -> Iterator[Answer]:
    """`function` of every item, in order; in this process when `num_processes` is 1.

    At most two items a process wait, so memory does not grow with the stream.

    Raises:
        BrokenProcessPool: a process died.
    """
    if num_processes <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pending: deque[Future[Answer]] = deque()
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * num_processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
