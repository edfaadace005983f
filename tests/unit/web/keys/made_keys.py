"""Keys for tests: a file of them, and what a client sends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from server.chat.records.turn_records import Session, Turn, TurnRequest, TurnResult
from server.chat.store.memory import MemoryRows
from server.chat.store.store import Store
from server.config import Settings
from server.web.keys.key_file import ApiKey, digest_of, key_line, new_secret
from tests.unit.web.fakes import Fakes, FakeStore, FakeTurns


class MadeKeys:
    """A file of keys that can be written again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.jsonl"
        self.secrets: dict[str, str] = {}
        self._keys: dict[str, ApiKey] = {}

    def add(self, name: str, **more: Any) -> str:
        """Put `name`'s key, or its new limits, into the file; its secret."""
        secret = self.secrets.setdefault(name, new_secret())
        self._keys[name] = msgspec.convert({"name": name, "sha256": digest_of(secret), **more}, ApiKey)
        self._write()
        return secret

    def remove(self, name: str) -> None:
        """Take `name`'s key out of the file."""
        del self._keys[name], self.secrets[name]
        self._write()

    def headers(self, name: str) -> dict[str, str]:
        """What `name` sends."""
        return {"Authorization": f"Bearer {self.secrets[name]}"}

    def fakes(self, **settings: Any) -> Fakes:
        """A front's collaborators that ask for these keys."""
        fakes = Fakes(settings=Settings(threads=12, api_keys=self.path, **settings))
        fakes.store = Store(MemoryRows(), clock=time.time, session_ttl_s=1000.0, session_lock_s=60.0)  # type: ignore
        fakes.turns = StoringTurns(fakes.store)  # type: ignore[arg-type]
        return fakes

    def _write(self) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_text("".join(f"{key_line(key)}\n" for key in self._keys.values()))
        draft.replace(self.path)


class StoringTurns(FakeTurns):
    """Keeps what it says in a real store, for the owner that the request names."""

    def __init__(self, store: Store) -> None:
        super().__init__(FakeStore())
        self._real = store

    def _remember(self, request: TurnRequest, ended: TurnResult) -> TurnResult:
        if request.history is not None:
            return ended
        store = self._real.of(request.owner)
        session = store.load(ended.session_id, 100) or Session(ended.session_id, time.time())
        claim = store.claim(session, "front")
        store.complete(claim, Turn(claim.turn, request.text, ended.outputs, ended.finish_reason, time.time()))
        return msgspec.structs.replace(ended, turn=claim.turn)
