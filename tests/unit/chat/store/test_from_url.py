"""From a setting to a store, and the name of a front."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from server.chat.records.turn_records import Session, Turn
from server.chat.store.bench import STEPS, time_turns
from server.chat.store.from_url import front_owner, open_store
from server.config import ConfigError


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "dynamodb://", "memory", "redis://x", "memory://x"])
def test_an_unknown_url_names_the_legal_ones(url: str) -> None:
    with pytest.raises(ConfigError, match="legal are sqlite:///path, dynamodb://table and memory://"):
        open_store(url, clock=time.time, session_ttl_s=0, session_lock_s=1)


def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///a.sqlite", f"sqlite:///{tmp_path}/b.sqlite"):
        open_store(url, clock=time.time, session_ttl_s=0, session_lock_s=1).close()
    assert {"a.sqlite", "b.sqlite"} <= {path.name for path in tmp_path.iterdir()}


def test_memory_keeps_turns_while_the_process_lives() -> None:
    store = open_store("memory://", clock=time.time, session_ttl_s=0, session_lock_s=1)
    store.complete(store.claim(Session("s", 1.0), "front"), Turn(1, "hi", "hello", "stop", 1.0))
    assert len(list(store.history("s"))) == 1
    store.close()


def test_a_front_keeps_its_name_over_restarts_and_shares_it_with_nobody(tmp_path: Path) -> None:
    name = front_owner(tmp_path / "run", "memory://")
    assert name
    assert front_owner(tmp_path / "run", "memory://") == name
    assert front_owner(tmp_path / "other", "memory://") != name


def test_a_name_that_was_never_finished_writing_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "owner").write_text("")
    assert front_owner(tmp_path, "memory://") == front_owner(tmp_path, "memory://") != ""


def test_timing_a_store_leaves_nothing_in_it(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/a.sqlite", clock=time.time, session_ttl_s=0, session_lock_s=1)
    taken = time_turns(store, 30)
    store.close()
    assert {step: len(each) for step, each in taken.items()} == dict.fromkeys(STEPS, 30)
    with sqlite3.connect(tmp_path / "a.sqlite") as db:
        assert db.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    db.close()
