"""Verdicts on retrieved passages: a passage is judged once, its id remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from server.chat.moderation import Moderator
from server.chat.policy import Role
from server.retrieval.retriever import Passage

_MAX_REMEMBERED = 65536
_Key = tuple[str, int]


class PassageVerdicts:
    """Keeps back the passages that the policy blocks. Thread-safe.

    A grown passage has the id of its hit, so its text is part of the key.
    """

    def __init__(self, moderator: Moderator, max_remembered: int = _MAX_REMEMBERED) -> None:
        self._moderator = moderator
        self._max_remembered = max_remembered
        self._blocked: OrderedDict[_Key, bool] = OrderedDict()  # the one used longest ago first
        self._lock = threading.Lock()

    def allowed(self, passages: Sequence[Passage], deadline_s: float) -> list[Passage]:
        """Those that may stand in a prompt. Raises ServiceError when the engine group cannot judge a new one."""
        # This call's own verdicts: what is remembered may be forgotten again before the call ends.
        blocked = self._recall(passages)
        unknown = {_key(each): each.text for each in passages if _key(each) not in blocked}
        if unknown:
            verdicts = self._moderator.judge(list(unknown.values()), Role.INPUT, deadline_s)
            judged = {key: verdict.blocked for key, verdict in zip(unknown, verdicts, strict=True)}
            self._remember(judged)
            blocked |= judged
        return [each for each in passages if not blocked[_key(each)]]

    def _recall(self, passages: Sequence[Passage]) -> dict[_Key, bool]:
        with self._lock:
            known = {key: self._blocked[key] for key in map(_key, passages) if key in self._blocked}
            for key in known:
                self._blocked.move_to_end(key)
        return known

    def _remember(self, blocked: dict[_Key, bool]) -> None:
        with self._lock:
            self._blocked.update(blocked)
            while len(self._blocked) > self._max_remembered:
                self._blocked.popitem(last=False)


def _key(passage: Passage) -> _Key:
    return passage.passage_id, hash(passage.text)
