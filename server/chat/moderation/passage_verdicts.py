"""Verdicts on retrieved passages: one rule for turns and searches; a passage is judged once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import JudgedPassages, Role
from server.chat.moderation.verdict_cache import VerdictCache
from server.retrieval.retriever import Passage

WEB = "web:"  # what the ids of passages begin with that came from the web just now
_MAX_REMEMBERED = 65536


class PassageVerdicts:
    """Keeps back the passages that the policy blocks. Thread-safe. Keeps no text."""

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_REMEMBERED) -> None:
        self._moderator = moderator
        self._blocked: VerdictCache[bytes, bool] = VerdictCache(max_remembered)

    def allowed(self, passages: Sequence[Passage], deadline_s: float) -> list[Passage]:
        """Those that may stand in a prompt or an answer. Raises ServiceError when a new one cannot be judged."""
        self._blocked.keep_for(self._moderator.policy)
        keys = {each: _key(each) for each in passages}
        judged = {keys[each]: _judged_text(each) for each in passages if self._is_judged(each)}
        blocked = self._blocked.recall(judged)
        unknown = {key: text for key, text in judged.items() if key not in blocked}
        if unknown:
            verdicts = self._moderator.judge(list(unknown.values()), Role.PASSAGE, deadline_s)
            found = {key: verdict.blocked for key, verdict in zip(unknown, verdicts, strict=True)}
            self._blocked.remember(found)
            blocked |= found
        return [each for each in passages if not blocked.get(keys[each], False)]

    def _is_judged(self, passage: Passage) -> bool:
        judged = self._moderator.policy.passages
        return judged is JudgedPassages.ALL or (judged is JudgedPassages.WEB and passage.passage_id.startswith(WEB))


def _judged_text(passage: Passage) -> str:
    """All of a passage that a reader sees."""
    return "\n".join(text for text in (passage.title, passage.section, passage.text) if text)


def _key(passage: Passage) -> bytes:
    """A grown passage has the id of its hit, so its text is the key."""
    return hashlib.sha256(_judged_text(passage).encode("utf-8", "surrogatepass")).digest()
