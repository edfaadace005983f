"""Verdicts that are kept, so that what comes again is not judged again: of a client's history, and of passages."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import JudgedPassages, Role
from server.chat.moderation.verdict import VerdictCache
from server.chat.records.turn_records import Judgement, Turn, TurnRequest
from server.retrieval.retriever import Passage

WEB = "web:"  # what the ids of passages begin with that came from the web just now
_MAX_TEXTS = 8192
_MAX_PASSAGES = 65536


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

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_TEXTS) -> None:
        self._moderator = moderator
        self._verdicts: VerdictCache[bytes, Judgement] = VerdictCache(max_remembered)

    def judge_request(self, request: TurnRequest, turns: Sequence[Turn], deadline_s: float) -> RequestVerdict:
        """The verdict on all of a request that can enter its prompt, of its history the given `turns`.

        Raises:
            ServiceError: the engine group cannot judge a new text.
        """
        if request.history is None and not request.system:
            [question] = self._moderator.judge([request.text], Role.INPUT, deadline_s, caller=request.caller)
            return RequestVerdict(question)
        system = [HistoryText(Role.SYSTEM, request.system)] if request.system else []
        said = [(each.turn, text) for each in turns for text in _said(each) if text.text]
        texts = [*system, *(text for _, text in said), HistoryText(Role.INPUT, request.text)]
        *before, question = self.judge(texts, deadline_s, caller=request.caller)
        of_turns = before[len(system) :]
        for (_, text), each in zip(said, of_turns, strict=True):
            self._moderator.note(request.request_id, text.role, each, text.text)
        withheld = frozenset(number for (number, _), each in zip(said, of_turns, strict=True) if each.blocked)
        return RequestVerdict(question, before[0] if system else None, withheld)

    def judge(self, texts: Sequence[HistoryText], deadline_s: float, *, caller: str = "") -> list[Judgement]:
        """One judgement a text, in order. Raises ServiceError when the engine group cannot judge a new one."""
        end = time.monotonic() + deadline_s
        self._verdicts.keep_for(self._moderator.policy)
        keys = [_text_key(each) for each in texts]
        verdicts = self._verdicts.recall(keys)
        unknown = {key: each for key, each in zip(keys, texts, strict=True) if key not in verdicts}
        for role in Role:
            asked = {key: each.text for key, each in unknown.items() if each.role is role}
            if asked:
                left_s = max(0.0, end - time.monotonic())
                judged = self._moderator.judge(list(asked.values()), role, left_s, caller=caller)
                verdicts |= zip(asked, judged, strict=True)
        self._verdicts.remember({key: verdicts[key] for key in unknown})
        return [verdicts[key] for key in keys]


def _said(turn: Turn) -> tuple[HistoryText, HistoryText]:
    return HistoryText(Role.INPUT, turn.user), HistoryText(Role.OUTPUT, turn.reply)


def _text_key(brought: HistoryText) -> bytes:
    return hashlib.sha256(f"{brought.role.value}:{brought.text}".encode("utf-8", "surrogatepass")).digest()


class PassageVerdicts:
    """Keeps back the passages that the policy blocks. Thread-safe. Keeps no text."""

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_PASSAGES) -> None:
        self._moderator = moderator
        self._verdicts: VerdictCache[bytes, Judgement] = VerdictCache(max_remembered)

    def allowed(
        self, passages: Sequence[Passage], deadline_s: float, request_id: str = "", *, caller: str = ""
    ) -> list[Passage]:
        """Those that may stand in a prompt or an answer; the others are noted for `request_id`.

        Raises:
            ServiceError: a new one cannot be judged.
        """
        self._verdicts.keep_for(self._moderator.policy)
        keys = {each: _passage_key(each) for each in passages}
        judged = {keys[each]: _judged_text(each) for each in passages if self._is_judged(each)}
        verdicts = self._verdicts.recall(judged)
        unknown = {key: text for key, text in judged.items() if key not in verdicts}
        if unknown:
            found = self._moderator.judge(list(unknown.values()), Role.PASSAGE, deadline_s, caller=caller)
            new = dict(zip(unknown, found, strict=True))
            self._verdicts.remember(new)
            verdicts |= new
        for key, text in judged.items():
            self._moderator.note(request_id, Role.PASSAGE, verdicts[key], text)
        return [each for each in passages if keys[each] not in verdicts or not verdicts[keys[each]].blocked]

    def _is_judged(self, passage: Passage) -> bool:
        judged = self._moderator.policy.passages
        return judged is JudgedPassages.ALL or (judged is JudgedPassages.WEB and passage.passage_id.startswith(WEB))


def _judged_text(passage: Passage) -> str:
    """All of a passage that a reader sees."""
    return "\n".join(text for text in (passage.title, passage.section, passage.text) if text)


def _passage_key(passage: Passage) -> bytes:
    """A grown passage has the id of its hit, so its text is the key."""
    return hashlib.sha256(_judged_text(passage).encode("utf-8", "surrogatepass")).digest()
