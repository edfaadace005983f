"""Many threads' calls made as one: what waits while a batch runs is the next batch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BatchError(RuntimeError):
    """A batch failed; its cause is the error that the work raised."""


class Batcher(Generic[Item, Answer]):
    """A thread that runs `work` on everything that waits, up to `max_items` at once.

    A lone caller waits for nobody: a batch starts as soon as the one before has ended.

    Args:
        work: answers for items, one each and in their order; an error reaches all callers as a BatchError.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer]], max_items: int, name: str) -> None:
        self._work = work
        self._max_items = max_items
        self._waiting: queue.SimpleQueue[tuple[Item, Future[Answer]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Future[Answer]:
        """The answer to come for one item.

        Raises:
            RuntimeError: after `close`.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.put((item, future))
        return future

    @property
    def num_waiting(self) -> int:
        """Items of no batch yet."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, ended = self._next_batch()
            if batch:
                self._answer(batch)
            if ended:
                return

    def _next_batch(self) -> tuple[list[tuple[Item, Future[Answer]]], bool]:
        entry = self._waiting.get()
        batch: list[tuple[Item, Future[Answer]]] = []
        while entry is not None:
            if entry[1].set_running_or_notify_cancel():
                batch.append(entry)
            if len(batch) >= self._max_items:
                return batch, False
            try:
                entry = self._waiting.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _answer(self, batch: list[tuple[Item, Future[Answer]]]) -> None:
        try:
            answers = self._work([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - the thread's edge: every caller hears of it
            failure = BatchError(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            for _, future in batch:
                future.set_exception(failure)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)
