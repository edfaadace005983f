"""Threads that answer the inputs of lists: lists take turns, however long they are."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple[Future[Any], Callable[[], Any]]


class ListPool:
    """As many threads as it is given. When one is free, the list begins an input whose turn it is."""

    def __init__(self, num_threads: int) -> None:
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="list")
        self._num_free = num_threads
        self._lists: deque[deque[_Work]] = deque()  # the next one first
        self._lock = threading.Lock()

    def submit(self, calls: Sequence[Callable[[], T]]) -> list[Future[T]]:
        """What the `calls` of one list will give, in order."""
        works: deque[_Work] = deque((Future(), call) for call in calls)
        futures: list[Future[T]] = [future for future, _ in works]
        with self._lock:
            self._lists.append(works)
            self._begin()
        return futures

    def _begin(self) -> None:
        while self._num_free and self._lists:
            works = self._lists.popleft()
            if not works:
                continue
            future, call = works.popleft()
            self._lists.append(works)
            self._num_free -= 1
            self._threads.submit(self._run, future, call)

    def _run(self, future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the edge of a thread; whoever reads the result raises it
            future.set_exception(error)
        with self._lock:
            self._num_free += 1
            self._begin()
