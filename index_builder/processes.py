"""A function mapped over a stream by many processes: answers in order, few items in flight."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


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
