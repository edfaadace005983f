"""Verdicts on what a client brings along with its question: instructions, earlier questions, and replies to them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.verdict_cache import VerdictCache
from server.chat.records.turn_records import Judgement, Turn, TurnRequest

_MAX_REMEMBERED = 8192


@dataclass(frozen=True)
class HistoryText:
    """A text of a conversation that its client keeps. What it says the bot said is judged as the bot's."""

    role: Role
    text: str


@dataclass(frozen=True)
class RequestVerdict:
    """What is thought of a request: its question, its instructions, and which of its turns stay out of the prompt."""

    question: Judgement
    system: Judgement | None = None
    withheld: frozenset[int] = frozenset()  # numbers of turns of which the question or the reply is blocked

    @property
    def blocking(self) -> Judgement | None:
        """The verdict that ends the turn: only the question's or the instructions' does."""
        return next((each for each in (self.system, self.question) if each is not None and each.blocked), None)


class HistoryVerdicts:
    """Judges each text once: the next request of the conversation brings it again. Keeps no text. Thread-safe."""

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_REMEMBERED) -> None:
        self._moderator = moderator
        self._verdicts: VerdictCache[bytes, Judgement] = VerdictCache(max_remembered)

    def judge_request(self, request: TurnRequest, turns: Sequence[Turn], deadline_s: float) -> RequestVerdict:
        """The verdict on all of a request that can enter its prompt, of its history the given `turns`.

        Raises:
            ServiceError: the engine group cannot judge a new text.
        """
        if request.history is None and not request.system:
            [question] = self._moderator.judge([request.text], Role.INPUT, deadline_s)
            return RequestVerdict(question)
        system = [HistoryText(Role.SYSTEM, request.system)] if request.system else []
        said = [(each.turn, text) for each in turns for text in _said(each) if text.text]
        texts = [*system, *(text for _, text in said), HistoryText(Role.INPUT, request.text)]
        *before, question = self.judge(texts, deadline_s)
        of_turns = before[len(system) :]
        withheld = frozenset(number for (number, _), each in zip(said, of_turns, strict=True) if each.blocked)
        return RequestVerdict(question, before[0] if system else None, withheld)

    def judge(self, texts: Sequence[HistoryText], deadline_s: float) -> list[Judgement]:
        """One judgement a text, in order. Raises ServiceError when the engine group cannot judge a new one."""
        end = time.monotonic() + deadline_s
        self._verdicts.keep_for(self._moderator.policy)
        keys = [_key(each) for each in texts]
        verdicts = self._verdicts.recall(keys)
        unknown = {key: each for key, each in zip(keys, texts, strict=True) if key not in verdicts}
        for role in Role:
            asked = {key: each.text for key, each in unknown.items() if each.role is role}
            if asked:
                judged = self._moderator.judge(list(asked.values()), role, max(0.0, end - time.monotonic()))
                verdicts |= zip(asked, judged, strict=True)
        self._verdicts.remember({key: verdicts[key] for key in unknown})
        return [verdicts[key] for key in keys]


def _said(turn: Turn) -> tuple[HistoryText, HistoryText]:
    return HistoryText(Role.INPUT, turn.user), HistoryText(Role.OUTPUT, turn.reply)


def _key(brought: HistoryText) -> bytes:
    return hashlib.sha256(f"{brought.role.value}:{brought.text}".encode("utf-8", "surrogatepass")).digest()
