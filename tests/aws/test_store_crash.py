"""A front that is killed at any moment has lost no turn that a client saw answered, and locks nobody out."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import httpx2
import pytest

from server.chat.store.from_url import open_store
from tests.aws.store_places import place_url
from tests.process.web.front_server import Server, start_front

NUM_KILLS = int(os.environ.get("STORE_TEST_KILLS", "3"))
SESSIONS = ["first", "second", "third"]
REPLY = "reply " * 50
DEADLINE_S = 300.0


class Clients:
    """One client a session, each asking again as soon as it is answered; `answered` has the questions that were."""

    def __init__(self, url: str, run: int) -> None:
        self.answered: list[str] = []
        self.refused: list[str] = []
        self._url = url
        self._grown = threading.Condition()
        self._threads = [threading.Thread(target=self._talk, args=(name, run)) for name in SESSIONS]
        for thread in self._threads:
            thread.start()

    def await_answers(self, num_answers: int) -> None:
        with self._grown:
            self._grown.wait_for(lambda: self.refused or len(self.answered) >= num_answers, timeout=DEADLINE_S)
            assert not self.refused
            assert len(self.answered) >= num_answers

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _talk(self, session_id: str, run: int) -> None:
        with httpx2.Client(base_url=self._url, timeout=DEADLINE_S) as http:
            number = 0
            while not self.refused:
                question = f"{run} {session_id} {number}"
                body = {"inputs": question, "parameters": {"session_id": session_id}}
                try:
                    response = http.post("/invocations", json=body)
                except httpx2.TransportError:
                    return  # the front was killed
                with self._grown:
                    if response.status_code == 409:  # a write of the front before is still under way
                        continue
                    number += 1
                    (self.answered if response.status_code == 200 else self.refused).append(question)
                    self._grown.notify_all()


def kill_at_a_random_moment(server: Server, run: int, rng: random.Random) -> list[str]:
    """The questions that were answered before."""
    try:
        server.wait_ready()
        clients = Clients(server.url, run)
        clients.await_answers(rng.randint(1, 12))
        time.sleep(rng.uniform(0, 0.02))  # the random moment itself
    finally:
        server.end()
    clients.join()
    assert not clients.refused
    return clients.answered


@pytest.mark.parametrize("kind", ["sqlite", "moto", "dynalite"])
@pytest.mark.timeout(120 + 60 * NUM_KILLS)
def test_every_answered_turn_survives_kill_9_of_the_front_at_random_moments(
    kind: str,
    tmp_path: Path,
    aws_credentials: None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind != "sqlite":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue(f"{kind}_url"))
    url = place_url(kind, tmp_path)
    rng = random.Random(f"kill {kind}")
    answered: list[str] = []
    for run in range(NUM_KILLS):
        front = start_front(tmp_path, {"store": url}, "tests.process.web.turns_wsgi:app")
        answered += kill_at_a_random_moment(front, run, rng)
    store = open_store(url, clock=time.time, session_ttl_s=86400, session_lock_s=600)
    stored = {session_id: list(store.history(session_id)) for session_id in SESSIONS}
    store.close()
    users = [turn.user for turns in stored.values() for turn in turns]
    assert set(answered) <= set(users)
    assert len(set(users)) == len(users)
    # What was written but not yet answered when the front was killed: at most one turn a session and kill.
    assert len(answered) <= len(users) <= len(answered) + NUM_KILLS * len(SESSIONS)
    for turns in stored.values():
        assert [turn.turn for turn in turns] == list(range(1, len(turns) + 1))
        assert all(turn.reply.strip() == REPLY.strip() for turn in turns)
    print(f"{kind}: {NUM_KILLS} kills, {len(answered)} turns answered, {len(users)} stored")
