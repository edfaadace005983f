"""Calls of many threads become batches; every caller gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.retrieval.encoder.batcher import Batcher, BatchError


def test_every_caller_gets_the_answer_to_its_own_item() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [item * item for item in items], 8, "test")
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda item: batcher.submit(item).result(30), range(500)))
    assert answers == [item * item for item in range(500)]
    batcher.close()


def test_what_waits_is_one_batch_up_to_the_limit() -> None:
    sizes: list[int] = []
    began, go = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        began.set()
        assert go.wait(30)
        return items

    batcher: Batcher[int, int] = Batcher(work, 4, "test")
    futures = [batcher.submit(0)]
    assert began.wait(30)
    futures += [batcher.submit(item) for item in range(1, 8)]
    go.set()
    assert [future.result(30) for future in futures] == list(range(8))
    assert sizes == [1, 4, 3]
    batcher.close()


def test_an_error_reaches_all_callers_of_its_batch_and_no_others() -> None:
    def work(items: Sequence[int]) -> Sequence[int]:
        return [10 // item for item in items]

    batcher: Batcher[int, int] = Batcher(work, 1, "test")
    with pytest.raises(BatchError, match="ZeroDivisionError"):
        batcher.submit(0).result(30)
    assert batcher.submit(5).result(30) == 2
    batcher.close()


def test_a_caller_that_gave_up_costs_no_work() -> None:
    seen: list[int] = []
    began, go = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> Sequence[int]:
        seen.extend(items)
        began.set()
        assert go.wait(30)
        return items

    batcher: Batcher[int, int] = Batcher(work, 4, "test")
    batcher.submit(0)
    assert began.wait(30)
    given_up, kept = batcher.submit(1), batcher.submit(2)
    given_up.cancel()
    go.set()
    assert kept.result(30) == 2
    batcher.close()
    assert seen == [0, 2]


def test_closing_answers_what_waits_and_refuses_the_rest() -> None:
    batcher: Batcher[int, int] = Batcher(list, 4, "test")
    futures = [batcher.submit(item) for item in range(20)]
    batcher.close()
    assert [future.result(0) for future in futures] == list(range(20))
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(1)
