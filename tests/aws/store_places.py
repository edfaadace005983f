"""A place to keep conversations, of each kind, that several stores can open at once."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from pathlib import Path

from server.chat.records.turn_records import Source, Turn, Usage
from server.chat.store.from_url import open_store
from server.chat.store.memory import MemoryRows
from server.chat.store.store import Store

KINDS = ("memory", "sqlite", "moto", "dynalite")
DYNAMO_KINDS = ("moto", "dynalite")


class ManualClock:
    """A clock that a test moves; far enough ahead that a real server's own expiry does not interfere."""

    def __init__(self) -> None:
        self.now = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """One database; each `open` is what another process would do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._memory = MemoryRows()
        self._opened: list[Store] = []

    def open(self, clock: Callable[[], float], ttl_s: float = 1000.0, lock_s: float = 60.0) -> Store:
        if self.url == "memory://":
            return Store(self._memory, clock=clock, session_ttl_s=ttl_s, session_lock_s=lock_s)
        store = open_store(self.url, clock=clock, session_ttl_s=ttl_s, session_lock_s=lock_s)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


def place_url(kind: str, folder: Path) -> str:
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite:///{folder}/conversations.sqlite"
    return f"dynamodb://conversations-{uuid.uuid4().hex[:12]}"


_ids = itertools.count(1)


def fresh_id() -> str:
    return f"session-{next(_ids)}"


def a_turn(number: int, text: str = "question", reply: str = "answer") -> Turn:
    """A turn with something in every field."""
    return Turn(
        turn=number,
        user=f"{text} {number}",
        reply=f"{reply} {number} \u00e9\U0001f600",
        finish_reason="stop",
        created_at=1234.5 + number,
        sources=(Source("Albedo", "Albedo is a fraction.", 0.75, "Albedo", passage_id="7"),),
        labels={"input": "casual"},
        usage=Usage(prompt_tokens=40, cached_tokens=16, completion_tokens=5, dropped_turns=0, passage_tokens=6),
        model="m",
        index_version="v",
    )
