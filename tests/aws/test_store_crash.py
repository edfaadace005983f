"""A front that is killed at any moment has lost no turn that it acknowledged, and locks nobody out."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from store_places import place_url

from server.chat.store.open import open_store

NUM_KILLS = int(os.environ.get("STORE_TEST_KILLS", "4"))
SCRIPT = Path(__file__).with_name("completing_turns.py")
ROOT = Path(__file__).parents[2]
SESSIONS = ["first", "second", "third"]
DEADLINE_S = 300.0


class Front:
    """A process that completes turns; `acknowledged` grows as it says so."""

    def __init__(self, url: str, run: int) -> None:
        command = [sys.executable, str(SCRIPT), url, str(run), *SESSIONS]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.acknowledged: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def await_turns(self, num_turns: int) -> None:
        with self._grown:
            self._grown.wait_for(lambda: len(self.acknowledged) >= num_turns, timeout=DEADLINE_S)
            assert len(self.acknowledged) >= num_turns, (self._process.poll(), self.acknowledged)

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *unused: object) -> None:
        self._process.kill()
        self._reader.join()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._grown:
                    # A line that the kill cut short was not promised to anybody.
                    self.acknowledged += [line.strip()] if line.endswith("\n") else []
                    self._grown.notify_all()


@pytest.mark.parametrize("kind", ["sqlite", "moto", "dynalite"])
def test_every_acknowledged_turn_survives_kill_9_at_random_moments(
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
    acknowledged: list[str] = []
    for run in range(NUM_KILLS):
        with Front(url, run) as front:
            front.await_turns(rng.randint(1, 12))
            time.sleep(rng.uniform(0, 0.02))  # the random moment itself
        acknowledged += front.acknowledged
    store = open_store(url, clock=time.time, session_ttl_s=86400, session_lock_s=600)
    stored = {session_id: list(store.history(session_id)) for session_id in SESSIONS}
    store.close()
    users = [turn.user for turns in stored.values() for turn in turns]
    assert set(acknowledged) <= set(users)
    assert len(acknowledged) <= len(users) <= len(acknowledged) + NUM_KILLS
    for session_id, turns in stored.items():
        assert [turn.turn for turn in turns] == list(range(1, len(turns) + 1))
        assert all(turn.user.endswith(f"{session_id} {turn.turn}") for turn in turns)
        assert all(turn.reply == "reply " * 50 for turn in turns)
    print(f"{kind}: {NUM_KILLS} kills, {len(acknowledged)} turns acknowledged, {len(users)} stored")
