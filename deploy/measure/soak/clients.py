"""Clients that ask for everything the server offers, each in conversations of its own."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from deploy.measure.soak.books import Books, Conversation, Kept
from deploy.measure.soak.call import Answer, Server
from deploy.measure.turn_load import PROMPTS

_TURNS_OF_A_CONVERSATION = 12
_RETRIES = 40
_RETRY_S = 0.5
_LONG = {"max_new_tokens": 200, "ignore_eos": True, "do_sample": True}


class Client:
    """One thread's worth of requests, chosen by `rng`, until told to stop."""

    def __init__(self, server: Server, books: Books, rng: random.Random, name: str) -> None:
        self._server = server
        self._books = books
        self._rng = rng
        self._name = name
        self._numbers = itertools.count()
        self._conversation = self._new()
        kinds: dict[Callable[[], object], int] = {
            self._turn: 30, self._streamed_turn: 20, self._chat: 10, self._streamed_chat: 10, self._list: 4,
            self._search: 8, self._history: 6, self._replace: 6, self._cancel: 4, self._leave: 4, self._erase: 2,
        }  # fmt: skip
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def run(self, stop: threading.Event) -> None:
        """Ask, one request after the other."""
        while not stop.is_set():
            self._rng.choices(self._kinds, self._weights)[0]()
            if len(self._conversation.turns) >= _TURNS_OF_A_CONVERSATION:
                self._conversation = self._new()

    def _new(self) -> Conversation:
        return self._books.open(f"soak-{self._name}-{next(self._numbers)}-{self._rng.getrandbits(48):x}")

    def _question(self) -> str:
        return f"{self._rng.choice(PROMPTS)} ({self._name}.{next(self._numbers)})"

    def _turn(self) -> None:
        self._kept("turn", {})

    def _streamed_turn(self) -> None:
        self._kept("streamed turn", {"stream": True})

    def _kept(self, kind: str, more: dict[str, Any], **parameters: Any) -> Answer:
        """A turn that is stored; asked again under the same key until it is answered."""
        kept = Kept(self._question())
        self._conversation.turns.append(kept)
        named = {"session_id": self._conversation.session_id, "max_new_tokens": 24, **parameters}
        body = {"inputs": kept.question, "parameters": named, **more}
        key = f"{self._name}-{kept.question}"
        for _ in range(_RETRIES):
            answer = self._books.entered(
                kind, lambda: self._server.post("/invocations", body, Idempotency_Key=key.replace(" ", "-"))
            )
            if answer.is_success:
                self._conversation.answered(kept, answer)
                break
            time.sleep(_RETRY_S)
        return answer

    def _replace(self) -> None:
        """Ask the last turn again, otherwise; what it replaces goes, at the latest when the answer is there."""
        if not self._conversation.last_turn or not self._conversation.turns[-1].is_certain:
            return
        replaced = self._conversation.turns[-1]
        replaced.is_certain = False
        answer = self._kept("replacement", {}, replace_turn=self._conversation.last_turn)
        if answer.is_success:
            self._conversation.turns.remove(replaced)

    def _chat(self, stream: bool = False) -> None:
        body = {"model": "", "stream": stream, "max_tokens": 24}
        body["messages"] = [{"role": "user", "content": self._question()}]
        kind = "streamed chat completion" if stream else "chat completion"
        self._books.entered(kind, lambda: self._server.post("/v1/chat/completions", body))

    def _streamed_chat(self) -> None:
        self._chat(stream=True)

    def _list(self) -> None:
        body = {"inputs": [self._question() for _ in range(3)], "parameters": {"max_new_tokens": 16}}
        self._books.entered("list", lambda: self._server.post("/invocations", body))

    def _search(self) -> None:
        body = {"query": self._rng.choice(PROMPTS), "k": 3}
        self._books.entered("search", lambda: self._server.post("/search", body))

    def _history(self) -> None:
        if self._conversation.last_turn:
            path = f"/sessions/{self._conversation.session_id}"
            self._books.entered("history", lambda: self._server.get(path))

    def _cancel(self) -> None:
        """A long turn, cancelled from beside it: it ends, whichever way."""
        session_id = self._conversation.session_id
        self._conversation.turns.append(kept := Kept(self._question()))
        body = {"inputs": kept.question, "parameters": {"session_id": session_id, **_LONG}, "stream": True}
        delay_s = self._rng.uniform(0, 1)
        canceller = threading.Timer(
            delay_s,
            lambda: self._books.entered("cancel", lambda: self._server.post(f"/sessions/{session_id}/cancel", {})),
        )
        canceller.start()
        answer = self._books.entered("cancelled turn", lambda: self._server.post("/invocations", body))
        canceller.join()
        if answer.is_success:
            self._conversation.answered(kept, answer)
        self._conversation = self._new()

    def _leave(self) -> None:
        """A long turn whose client goes away: nobody knows whether it was stored, so the conversation is left."""
        self._conversation.turns.append(kept := Kept(self._question()))
        named = {"session_id": self._conversation.session_id, **_LONG}
        body = {"inputs": kept.question, "parameters": named, "stream": True}
        self._books.entered("left turn", lambda: self._server.leave("/invocations", body))
        self._conversation = self._new()

    def _erase(self) -> None:
        session_id = self._conversation.session_id
        body = {"action": "delete", "session_id": session_id}
        if not self._conversation.last_turn:
            return
        answer = self._books.entered("erasure", lambda: self._server.post("/invocations", body))
        if not answer.is_success:  # it may be gone, or not: nothing is certain of it any more
            for kept in self._conversation.turns:
                kept.is_certain = False
        else:
            self._books.close(self._conversation)
        self._conversation = self._new()
