"""Faults that enter a running server: one server for all of them, and at the end every answered turn must be in it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.process.stack import ROOT, Stack

RANKS = ("server.engine.rank --rank 0", "server.engine.rank --rank 1")
FRONT = "worker [openchatkit-front]"
STEP_TIMEOUT_S = 6
LONG = {"max_new_tokens": 400, "do_sample": True, "ignore_eos": True, "seed": 1, "no_retrieval": True}
STATELESS = {"model": "", "messages": [{"role": "user", "content": "Good morning"}]}


class FaultyServer(Stack):
    """A running server whose ranks can be told to fail, and the turns that it has acknowledged, by session."""

    command = (sys.executable, "-m", "tests.process.faults.faulty_serve")

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        shutil.copytree(ROOT / ".demo/index", self.index, ignore=shutil.ignore_patterns(".work"))
        super().__init__(folder, OCK_INDEX=str(self.index), OCK_STEP_TIMEOUT_S=str(STEP_TIMEOUT_S))
        self.acknowledged: dict[str, list[str]] = {}

    def say(self, question: str, session_id: str, **parameters: object) -> tuple[int, Any]:
        """One turn; noted when it is answered."""
        body = {"inputs": question, "parameters": {"session_id": session_id, **parameters}}
        status, answer = self.post("/invocations", body)
        if status == 200:
            self.acknowledged.setdefault(session_id, []).append(question)
        return status, answer

    def make_fail(self, rank: int, kind: str) -> None:
        """The rank's next forward pass does so."""
        draft = self.folder / "fault"
        draft.write_text(kind, "ascii")
        draft.rename(self.folder / "run" / f"fault-{rank}")

    def attempts(self) -> int:
        """How often the group became ready."""
        return self.log.count("engine.ready attempt=")

    def end_of(self, pending: Future[tuple[int, Any]]) -> tuple[int, str]:
        """Status and error code of a request that the group took with it."""
        status, answer = pending.result(60)
        return status, answer["error"]["code"]

    def wait_back(self, attempts: int) -> None:
        """Until the group has been started anew and serves."""
        self.wait_until(lambda: self.attempts() > attempts, "another attempt")
        self.wait_until(self.is_up, "a group that is back")

    def tree(self) -> list[int]:
        """Every process of it, the supervisor first."""
        assert self._process is not None
        return [self._process.pid, *self.pids("")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    server = FaultyServer(tmp_path_factory.mktemp("faults"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.parametrize(("rank", "kind"), [(1, "exception"), (0, "memory")])
def test_a_forward_pass_that_fails_ends_its_requests_and_the_group_comes_back(
    server: FaultyServer, pool: ThreadPoolExecutor, rank: int, kind: str
) -> None:
    attempts = server.attempts()
    assert server.say("Good morning", kind)[0] == 200
    server.make_fail(rank, kind)
    pending = [pool.submit(server.say, "Tell me a joke", f"{kind}{number}", **LONG) for number in range(3)]
    assert [server.end_of(each) for each in pending] == [(503, "engine_unavailable")] * 3
    server.wait_back(attempts)
    assert server.say("Thank you!", kind)[1]["turn"] == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_numbers_that_are_none_in_a_forward_pass_end_its_request_and_nothing_else(
    server: FaultyServer, rank: int
) -> None:
    attempts, ranks = server.attempts(), [server.pids(each) for each in RANKS]
    server.make_fail(rank, "nan")
    status, answer = server.say("Good morning", "nan")
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "outputs" not in answer
    assert server.say("Good morning", "nan")[0] == 200
    assert server.attempts() == attempts
    assert [server.pids(each) for each in RANKS] == ranks


def test_a_stopped_rank_is_noticed_by_the_others_and_the_group_comes_back(
    server: FaultyServer, pool: ThreadPoolExecutor
) -> None:
    attempts, [stopped] = server.attempts(), server.pids(RANKS[1])
    os.kill(stopped, signal.SIGSTOP)
    pending = pool.submit(server.say, "Tell me a joke", "stopped", **LONG)
    assert server.end_of(pending) == (503, "engine_unavailable")
    server.wait_back(attempts)
    assert stopped not in server.pids(RANKS[1])
    assert f"OCK_STEP_TIMEOUT_S={STEP_TIMEOUT_S}" in server.log


def test_a_frozen_container_goes_on_as_if_nothing_had_been(server: FaultyServer, pool: ThreadPoolExecutor) -> None:
    attempts = server.attempts()
    pending = pool.submit(server.say, "Tell me a joke", "frozen", **LONG)
    server.wait_until(lambda: server.get("/ping?detail=1")[1]["admitted"] == 1, "a turn under way")
    tree = server.tree()
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2 * STEP_TIMEOUT_S)  # the fault itself: longer than any step may take
    for pid in tree:
        os.kill(pid, signal.SIGCONT)
    assert pending.result(60)[0] == 200
    assert server.attempts() == attempts
    assert set(server.tree()) >= set(tree)


def test_a_full_disk_refuses_turns_that_are_kept_and_answers_those_that_are_not(server: FaultyServer) -> None:
    assert server.say("Good morning", "full")[0] == 200
    [front] = server.pids(FRONT)
    limits = resource.prlimit(front, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    status, answer = server.say("Thank you!", "full")
    assert (status, answer["error"]["code"], answer["error"]["retryable"]) == (503, "store_unavailable", True)
    assert server.post("/v1/chat/completions", STATELESS)[0] == 200
    assert server.get("/sessions/full")[0] == 200
    resource.prlimit(front, resource.RLIMIT_FSIZE, limits)
    assert server.say("Thank you!", "full")[1]["turn"] == 2


def test_a_store_that_does_not_answer_refuses_turns_in_time_while_the_rest_is_served(
    server: FaultyServer, pool: ThreadPoolExecutor
) -> None:
    holder = sqlite3.connect(server.folder / "conversations.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    pending = [pool.submit(server.say, "Good morning", f"slow{number}") for number in range(4)]
    assert server.get("/ping")[0] == 200
    assert server.post("/v1/chat/completions", STATELESS)[0] == 200
    assert {server.end_of(each) for each in pending} == {(503, "store_unavailable")}
    holder.execute("ROLLBACK")
    holder.close()
    assert server.say("Good morning", "slow0")[0] == 200


def test_a_killed_front_worker_is_replaced_and_goes_on_with_the_conversation(
    server: FaultyServer, pool: ThreadPoolExecutor
) -> None:
    assert server.say("Good morning", "front")[0] == 200
    attempts, [killed] = server.attempts(), server.pids(FRONT)
    pending = pool.submit(server.say, "Tell me a joke", "front", **LONG)
    server.wait_until(lambda: server.get("/ping?detail=1")[1]["admitted"] == 1, "a turn under way")
    os.kill(killed, signal.SIGKILL)
    assert pending.result(60) == (0, None)
    server.wait_until(lambda: server.pids(FRONT) not in ([], [killed]), "another worker")
    server.wait_until(server.is_up, "an answer of 200 on /ping")
    assert server.say("Thank you!", "front")[1]["turn"] == 2
    assert server.attempts() == attempts


def test_every_answered_turn_was_stored_once_and_in_order(server: FaultyServer) -> None:
    assert len(server.acknowledged) > 5
    for session_id, questions in server.acknowledged.items():
        status, session = server.get(f"/sessions/{session_id}")
        assert status == 200
        assert [turn["user"] for turn in session["turns"]] == questions


def test_an_index_file_cut_short_while_it_is_open_ends_the_server_with_the_file_s_name(server: FaultyServer) -> None:
    """The last one: a mapped file that shrinks is the end of whoever reads it, and no other file is there to read."""
    names = ("passages.arrow", "vectors.npy", "knn.index")
    for name in names:
        os.truncate(server.index / name, 4096)
    assert server.say("Who was Abraham Lincoln?", "cut") == (0, None)
    assert server.wait_exit(60) == 1
    assert any(f"{server.index / name} cannot be opened" in server.log for name in names)
