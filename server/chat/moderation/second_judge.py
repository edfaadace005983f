"""A second judge, which reads a text otherwise than the model does: the two err in different places."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from server.chat.moderation.policy import Policy, SecondRule
from server.chat.moderation.policy_file import PolicyError
from server.errors import ErrorCode, ServiceError
from server.retrieval.encoder.text_classifier import TextClassifier

_TEXTS_AT_ONCE = 32


class SecondJudge(Protocol):
    """Whom a moderator asks about what its model does not find harmless at a first look."""

    rule: SecondRule

    def log_odds(self, texts: Sequence[str], end: float | None = None) -> list[float]:
        """The log-odds that each of `texts` must be blocked, by `end` on the monotonic clock.

        Raises:
            ServiceError: its turn did not come in time.
        """
        ...


class SentenceJudge:
    """Judges by sentence vectors, in this process; the texts of a call are encoded together. Thread-safe."""

    def __init__(self, rule: SecondRule, encoder: str) -> None:
        """`encoder` is the one that searches. Raises RetrievalError: it, or what it was taught, cannot be read."""
        self.rule = rule
        self._classifier = TextClassifier(rule.encoder or encoder, rule.weights)
        self._one_at_a_time = threading.Lock()

    def log_odds(self, texts: Sequence[str], end: float | None = None) -> list[float]:
        """As `SecondJudge.log_odds`; of many texts some at a time, so that others get between them."""
        found: list[float] = []
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            found += self._some(texts[first : first + _TEXTS_AT_ONCE], end)
        return found

    def _some(self, texts: Sequence[str], end: float | None) -> list[float]:
        if not self._one_at_a_time.acquire(timeout=-1 if end is None else max(0.0, end - time.monotonic())):
            raise ServiceError(ErrorCode.DEADLINE, "The text was not judged before the request's deadline.")
        try:
            return [float(each) for each in self._classifier.log_odds(texts)]
        finally:
            self._one_at_a_time.release()


def open_second_judge(policy: Policy, encoder: str) -> SentenceJudge | None:
    """The second judge that `policy` names, if it does; `encoder` is the one that searches, or empty.

    Raises:
        PolicyError, RetrievalError: it cannot be opened.
    """
    if policy.second is None:
        return None
    if not (policy.second.encoder or encoder):
        raise PolicyError(f"policy {policy.name}: second.encoder is missing, and OCK_ENCODER is empty; set one of them")
    return SentenceJudge(policy.second, encoder)
