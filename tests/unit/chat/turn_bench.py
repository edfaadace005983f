"""A turn service to try things on, over doubles of what it works with."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server import wire
from server.chat.prompt.prompt import PromptBuilder
from server.chat.records.turn_records import Turn, TurnRequest, TurnResult
from server.chat.store.store import Store
from server.chat.turn import Collaborators, TurnService, TurnSettings
from server.errors import ServiceError
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer
from tests.unit.chat.turn_doubles import Engine, Index, Judge, WatchedRows

WAIT_S = 30.0  # a machine with other work must not fail a test
EXECUTOR = ThreadPoolExecutor(16)


class Bench:
    """A turn service over doubles, and the store that it writes to."""

    def __init__(self, engine: Engine | None = None, index: Index | None = None, **settings: Any) -> None:
        self.engine = engine or Engine()
        self.judge = Judge()
        self.index = index
        self.rows = WatchedRows()
        self.store = Store(self.rows, clock=time.time, session_ttl_s=0, session_lock_s=60)
        self.settings = settings
        self.use(self.judge)

    def use(self, judge: Judge) -> None:
        """Work with another judge from now on."""
        self.judge = judge
        with_ = Collaborators(
            self.engine,
            PromptBuilder(chat_tokenizer("ordinary"), 512, 64),
            self.store,
            EXECUTOR,
            moderator=judge,  # type: ignore[arg-type]
            retriever=self.index,  # type: ignore[arg-type]
        )
        self.turns = TurnService(with_, TurnSettings("model 1", "front", **self.settings))

    def ask(self, text: str = "Is it so?", **fields: Any) -> TurnResult:
        return self.turns.answer(request(text, **fields))

    def stored(self, session_id: str = "s") -> list[Turn]:
        return list(self.store.history(session_id))

    def refusal(self, text: str = "Is it so?", **fields: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            self.ask(text, **fields)
        return caught.value


def request(text: str, **fields: Any) -> TurnRequest:
    given = {"request_id": "r", "session_id": "s", "sampling": wire.Sampling(max_new_tokens=16)} | fields
    return TurnRequest(text=text, **given)


def brought(*exchanges: tuple[str, str]) -> tuple[Turn, ...]:
    return tuple(Turn(number, user, reply, "stop", 0.0) for number, (user, reply) in enumerate(exchanges, 1))
