"""Verdicts on retrieved passages: a passage is judged once, its id remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from server.chat.moderation import Moderator
from server.chat.policy import Role
from server.retrieval.retriever import Passage

_MAX_REMEMBERED = 65536


class PassageVerdicts:
    """Keeps back the passages that the policy blocks. Thread-safe.

    A grown passage has the id of its hit, so its text is part of the key.
    """

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator
        self._blocked: OrderedDict[tuple[str, int], bool] = OrderedDict()
        self._lock = threading.Lock()

    def allowed(self, passages: Sequence[Passage], deadline_s: float) -> list[Passage]:
        """Those that may stand in a prompt. Raises ServiceError when the engine group cannot judge a new one."""
        unknown = [each for each in passages if self._recall(each) is None]
        if unknown:
            verdicts = self._moderator.judge([each.text for each in unknown], Role.INPUT, deadline_s)
            self._remember({_key(each): verdict.blocked for each, verdict in zip(unknown, verdicts, strict=True)})
        return [each for each in passages if not self._recall(each)]

    def _recall(self, passage: Passage) -> bool | None:
        with self._lock:
            return self._blocked.get(_key(passage))

    def _remember(self, blocked: dict[tuple[str, int], bool]) -> None:
        with self._lock:
            self._blocked.update(blocked)
            while len(self._blocked) > _MAX_REMEMBERED:
                self._blocked.popitem(last=False)


def _key(passage: Passage) -> tuple[str, int]:
    return passage.passage_id, hash(passage.text)
