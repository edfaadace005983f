"""Verdicts on what a client brings along with its question: instructions, earlier questions, and replies to them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.verdict_cache import VerdictCache
from server.chat.records.turn_records import Judgement, TurnRequest

_MAX_REMEMBERED = 8192


@dataclass(frozen=True)
class Brought:
    """A text of a conversation that its client keeps. What it says the bot said is judged as the bot's."""

    role: Role
    text: str


def texts_to_judge(request: TurnRequest, num_dropped_turns: int) -> list[Brought]:
    """All of a request that can enter its prompt: instructions, the turns that are not dropped, last the question."""
    turns = [each for each in request.history or () if each.turn > num_dropped_turns]
    said = [text for each in turns for text in (Brought(Role.INPUT, each.user), Brought(Role.OUTPUT, each.reply))]
    before = [text for text in (Brought(Role.INPUT, request.system), *said) if text.text.strip()]
    return [*before, Brought(Role.INPUT, request.text)]


class BroughtVerdicts:
    """Judges each text once: the next request of the conversation brings it again. Keeps no text. Thread-safe."""

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_REMEMBERED) -> None:
        self._moderator = moderator
        self._verdicts: VerdictCache[bytes, Judgement] = VerdictCache(max_remembered)

    def judge(self, texts: Sequence[Brought], deadline_s: float) -> list[Judgement]:
        """One judgement a text, in order. Raises ServiceError when the engine group cannot judge a new one."""
        end = time.monotonic() + deadline_s
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


def _key(brought: Brought) -> bytes:
    return hashlib.sha256(f"{brought.role.value}:{brought.text}".encode("utf-8", "surrogatepass")).digest()
