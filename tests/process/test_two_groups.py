"""OCK_REPLICAS=2 with real ranks: two engine groups behind one front, and the death of either."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.process.stack import Stack

RANK = "server.engine.rank"
LONG = {"inputs": "Who was Abraham Lincoln?", "stream": True}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"OCK_REPLICAS": "2", "OCK_TENSOR_PARALLEL_DEGREE": "1", "OCK_INDEX": "", "OCK_ENCODER": ""}
    stack = Stack(tmp_path_factory.mktemp("groups"), **settings)
    stack.start()
    stack.wait_until(lambda: ready(stack) == [True, True], "two ready groups")
    yield stack
    stack.kill()


def ready(stack: Stack) -> list[bool]:
    return [group["ready"] for group in stack.get("/ping?detail=1")[1]["groups"]]


def last_word(stack: Stack) -> dict[str, Any]:
    """The end of a streamed answer; one that fails before its first text is an answer with an error's status."""
    try:
        return list(stack.stream_lines(LONG))[-1]
    except urllib.error.HTTPError as error:
        body: dict[str, Any] = json.loads(error.read())
        return body


def test_both_groups_work_and_each_is_told_of(stack: Stack) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: stack.ask(f"Good morning, {number}"), range(8)))
    assert all(answer["outputs"] for answer in answers)
    metrics = stack.get("/metrics")[1]
    assert 'ock_engine_group_ready{group="0"} 1.0' in metrics
    assert 'ock_engine_group_ready{group="1"} 1.0' in metrics
    assert len(stack.pids(RANK)) == 2


def test_the_death_of_a_group_costs_its_own_answer_alone_and_it_comes_back(stack: Stack, tmp_path: Path) -> None:
    victim, other = stack.pids(RANK)
    for pid in (victim, other):  # held still, so that both are at work when one dies
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(last_word, stack) for _ in range(2)]
        stack.wait_until(lambda: stack.get("/ping?detail=1")[1]["admitted"] == 2, "two turns under way")
        os.kill(victim, signal.SIGKILL)
        os.kill(other, signal.SIGCONT)
        ends = [each.result() for each in streams]
    assert sorted("error" in end for end in ends) == [False, True], ends
    assert next(end for end in ends if "error" in end)["error"]["code"] == "engine_unavailable"
    assert sum(ready(stack)) >= 1
    assert stack.ask("Good evening")["outputs"]  # the other group takes it
    stack.wait_until(lambda: ready(stack) == [True, True], "two ready groups again")
    assert other in stack.pids(RANK)
    assert "engine.ready attempt=2" in stack.log
