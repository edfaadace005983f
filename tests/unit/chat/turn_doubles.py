"""What a turn works with, small enough to be told what to do: an engine, a judge, an index, and rows that can fail."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

from server import wire
from server.chat.moderation.parts import ReplySpan
from server.chat.moderation.policy import JudgedPassages, Role
from server.chat.moderation.policy_file import load_policy
from server.chat.records.turn_records import Judgement
from server.chat.store.memory import MemoryRows
from server.errors import ErrorCode, ServiceError
from server.retrieval.query import Query
from server.retrieval.retriever import Passage


class Engine:
    """Says `text` and ends for `reason`; with `silent`, it says nothing at all and never ends."""

    def __init__(self, text: str = "It is so.", reason: str = "stop", *, silent: bool = False) -> None:
        self.text, self.reason, self.silent = text, reason, silent
        self.started: list[wire.Generate] = []

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        self.started.append(request)
        if self.silent:
            return
        num_tokens = len(self.text.split())
        if self.text:
            deliver(wire.Piece(request.request_id, self.text, num_tokens))
        deliver(wire.Finished(request.request_id, self.reason, len(request.prompt), 0, num_tokens))

    def cancel(self, request_id: str) -> None:
        pass


class Judge:
    """Blocks what has `word` in it; `begun` is set once it was asked, and `asked` has the role with every text."""

    policy = dataclasses.replace(load_policy(), passages=JudgedPassages.NONE)

    def masked(self, text: str, role: Role) -> str:
        return text

    def masks(self, role: Role) -> bool:
        return False

    def worse(self, first: Judgement, second: Judgement) -> Judgement:
        return first if first.blocked else second

    def note(self, request_id: str, role: Role, verdict: Judgement, text: str) -> None:
        self.noted.append((request_id, role, verdict.blocked, text))

    def __init__(self, word: str = "BAD") -> None:
        self.word = word
        self.asked: list[tuple[Role, str]] = []
        self.noted: list[tuple[str, Role, bool, str]] = []
        self.begun = threading.Event()

    def judge(
        self, texts: Sequence[str], role: Role, deadline_s: float | None = None, *, caller: str = ""
    ) -> list[Judgement]:
        self.asked += [(role, text) for text in texts]
        self.begun.set()
        return [self._judged(text) for text in texts]

    def judge_reply(self, span: ReplySpan, deadline_s: float, *, caller: str = "") -> Judgement:
        return self._judged(span.whole or " ".join((*span.before, span.text)))

    def _judged(self, text: str) -> Judgement:
        blocked = self.word in text
        return Judgement("needs intervention" if blocked else "casual", {}, {}, blocked, "No." if blocked else "")


class Index:
    """Finds one passage, or does what `search` is set to."""

    version = "index 1"

    def __init__(self, behaviour: Callable[[], list[Passage]] | None = None) -> None:
        self._behaviour = behaviour
        self.begun = threading.Event()
        self.asked: list[Query] = []

    def search(self, query: Query) -> list[Passage]:
        self.asked.append(query)
        self.begun.set()
        if self._behaviour is not None:
            return self._behaviour()
        return [Passage("1", "d", "Albedo", "", "Albedo is a fraction.", 0.5, "")]


class WatchedRows(MemoryRows):
    """Rows that note what is asked of them, and fail or wait where they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.broken: set[str] = set()
        self.before: dict[str, Callable[[], object]] = {}

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name in self.before:
            self.before[name]()
        if name in self.broken:
            raise ServiceError(ErrorCode.STORE_UNAVAILABLE, "the store is away", retry_after_s=1.0)

    def newest(self, *arguments: Any, **named: Any) -> Any:
        self._note("newest")
        return super().newest(*arguments, **named)

    def put_if_free(self, *arguments: Any) -> Any:
        self._note("put_if_free")
        return super().put_if_free(*arguments)

    def replace_open(self, *arguments: Any) -> Any:
        self._note("replace_open")
        return super().replace_open(*arguments)

    def remove_open(self, *arguments: Any) -> Any:
        self._note("remove_open")
        return super().remove_open(*arguments)
