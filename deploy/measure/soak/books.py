"""What was asked and answered, and what must be found in the store for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deploy.measure.soak.call import CUT, Answer

ALLOWED_CODES = {"engine_unavailable", "store_unavailable", "queue_full", "session_busy", "cancelled", "deadline"}
ALLOWED_CODES |= {"shutting_down", "server_shutdown", "rate_limit_exceeded", "retrieval_unavailable"}


@dataclass
class Kept:
    """A question that may be in the store: for certain, once it was answered and as long as nothing replaced it."""

    question: str
    is_certain: bool = False


@dataclass
class Conversation:
    """One session as its one client knows it."""

    session_id: str
    turns: list[Kept] = field(default_factory=list)
    last_turn: int = 0

    def answered(self, kept: Kept, answer: Answer) -> None:
        """A question was, and its turn is stored."""
        kept.is_certain = True
        self.last_turn = answer.record["turn"]

    def faults(self, stored: list[str]) -> list[str]:
        """What is wrong with the questions found in the store, oldest first."""
        found = [f"{question!r} is stored {count} times" for question, count in Counter(stored).items() if count > 1]
        known = [kept.question for kept in self.turns]
        found += [f"{question!r} is stored and was never asked" for question in stored if question not in known]
        found += [
            f"{kept.question!r} was answered and is not stored"
            for kept in self.turns
            if kept.is_certain and kept.question not in stored
        ]
        certain = [kept.question for kept in self.turns if kept.is_certain]
        if [each for each in stored if each in certain] != certain and not found:
            found.append(f"{certain} are stored in the order {stored}")
        return [f"{self.session_id}: {each}" for each in found]


class Books:
    """Every request that was made, and how it ended. Thread-safe."""

    def __init__(self, during_fault: Callable[[], bool]) -> None:
        self._during_fault = during_fault
        self._lock = threading.Lock()
        self.num_begun = 0
        self.num_ended = 0
        self.num_faults = 0
        self.ends: Counter[str] = Counter()  # "kind: how"
        self.conversations: list[Conversation] = []
        self.wrong: list[str] = []

    def open(self, session_id: str) -> Conversation:
        """A new conversation."""
        with self._lock:
            self.conversations.append(Conversation(session_id))
            return self.conversations[-1]

    def close(self, conversation: Conversation) -> None:
        """It was erased."""
        with self._lock:
            self.conversations.remove(conversation)

    def entered(self, kind: str, request: Callable[[], Answer]) -> Answer:
        """Make a request, and note how it ended."""
        with self._lock:
            self.num_begun += 1
            before = self.num_faults
        fault_before = self._during_fault()
        answer = request()
        excused = fault_before or self._during_fault()
        with self._lock:
            self.num_ended += 1
            self.ends[f"{kind}: {answer.fault or answer.code or answer.status}"] += 1
            if wrong := _wrong(answer, excused=excused or self.num_faults > before):
                self.wrong.append(f"{kind}: {wrong}")
        return answer

    def fault_began(self) -> None:
        """From now on connections may be cut."""
        with self._lock:
            self.num_faults += 1

    def balance(self, stored: Callable[[str], list[str] | None]) -> list[str]:
        """Everything that is wrong; `stored` reads a conversation's questions, None where there is none."""
        found = list(self.wrong)
        if self.num_begun != self.num_ended:
            found.append(f"{self.num_begun} requests were made and {self.num_ended} ended")
        for each in self.conversations:
            found += each.faults(stored(each.session_id) or [])
        return found

    def summary(self) -> dict[str, Any]:
        """Counts, for the report."""
        return {
            "begun": self.num_begun,
            "ended": self.num_ended,
            "ends": dict(sorted(self.ends.items())),
            "conversations": len(self.conversations),
            "turns_answered": sum(kept.is_certain for each in self.conversations for kept in each.turns),
        }


def _wrong(answer: Answer, *, excused: bool) -> str:
    """What is wrong with an end; empty for one that may be. A fault excuses a cut connection and nothing else."""
    if answer.fault:
        return (
            ""
            if answer.fault == CUT and excused
            else f"{answer.fault} (status {answer.status}, last {str(answer.record)[:200]})"
        )
    if answer.code and answer.code not in ALLOWED_CODES:
        return f"{answer.status} {answer.code}"
    return ""
