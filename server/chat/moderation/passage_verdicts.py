"""Verdicts on retrieved passages: a passage is judged once, its id remembered."""

from __future__ import annotations

from collections.abc import Sequence

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.verdict_cache import VerdictCache
from server.retrieval.retriever import Passage

_MAX_REMEMBERED = 65536


class PassageVerdicts:
    """Keeps back the passages that the policy blocks. Thread-safe.

    A grown passage has the id of its hit, so its text is part of the key.
    """

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_REMEMBERED) -> None:
        self._moderator = moderator
        self._blocked: VerdictCache[tuple[str, int], bool] = VerdictCache(max_remembered)

    def allowed(self, passages: Sequence[Passage], deadline_s: float) -> list[Passage]:
        """Those that may stand in a prompt. Raises ServiceError when the engine group cannot judge a new one."""
        blocked = self._blocked.recall(map(_key, passages))
        unknown = {_key(each): each.text for each in passages if _key(each) not in blocked}
        if unknown:
            verdicts = self._moderator.judge(list(unknown.values()), Role.INPUT, deadline_s)
            judged = {key: verdict.blocked for key, verdict in zip(unknown, verdicts, strict=True)}
            self._blocked.remember(judged)
            blocked |= judged
        return [each for each in passages if not blocked[_key(each)]]


def _key(passage: Passage) -> tuple[str, int]:
    return passage.passage_id, hash(passage.text)
