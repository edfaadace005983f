"""A second judge, which reads a text otherwise than the model does: the two err in different places."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from server.artifacts.folder import sha256_of
from server.chat.moderation.policy import Policy, SecondRule
from server.chat.moderation.policy_file import PolicyError
from server.chat.moderation.verdict import VerdictCache
from server.errors import ErrorCode, ServiceError
from server.retrieval.encoder.shared import Encoders
from server.retrieval.encoder.text_classifier import TextClassifier
from server.retrieval.retriever import RetrievalError

_TEXTS_AT_ONCE = 32
_MAX_KEPT = 8192


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
    """Judges by sentence vectors, in this process; the texts of a call are encoded together. Thread-safe.

    What it said of a text it keeps, not the text: a question that is asked again, or a sentence that a reply quotes
    from a passage which was judged, is not read again.
    """

    def __init__(self, rule: SecondRule, pupil: Pupil) -> None:
        self.rule = rule
        self._pupil = pupil

    def log_odds(self, texts: Sequence[str], end: float | None = None) -> list[float]:
        """As `SecondJudge.log_odds`; of many texts some at a time, so that others get between them."""
        found = self._pupil.said.recall(keys := [_key(each) for each in texts])
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        left = list(unknown)
        for first in range(0, len(left), _TEXTS_AT_ONCE):
            some = left[first : first + _TEXTS_AT_ONCE]
            new = dict(zip(some, self._some([unknown[key] for key in some], end), strict=True))
            self._pupil.said.remember(new)
            found |= new
        return [found[key] for key in keys]

    def by(self, rule: SecondRule) -> SentenceJudge:
        """The same pupil's opinion by another rule."""
        return SentenceJudge(rule, self._pupil)

    def was_taught(self, lesson: Lesson) -> bool:
        """Whether it knows what `lesson` would teach."""
        return self._pupil.lesson == lesson

    def _some(self, texts: Sequence[str], end: float | None) -> list[float]:
        if not self._pupil.one_at_a_time.acquire(timeout=-1 if end is None else max(0.0, end - time.monotonic())):
            raise ServiceError(ErrorCode.DEADLINE, "The text was not judged before the request's deadline.")
        try:
            return [float(each) for each in self._pupil.classifier.log_odds(texts)]
        finally:
            self._pupil.one_at_a_time.release()


@dataclass(frozen=True)
class Lesson:
    """Which encoder was taught, and the digest of the file that says what."""

    encoder: str
    digest: str


class Pupil:
    """An encoder that was taught, its lock, and what it said."""

    def __init__(self, lesson: Lesson, classifier: TextClassifier) -> None:
        self.lesson = lesson
        self.classifier = classifier
        self.one_at_a_time = threading.Lock()
        self.said: VerdictCache[bytes, float] = VerdictCache(_MAX_KEPT)


def open_second_judge(
    policy: Policy, encoder: str, encoders: Encoders | None = None, before: SecondJudge | None = None
) -> SentenceJudge | None:
    """The second judge that `policy` names, if it does.

    Args:
        encoder: the one that searches, or empty.
        encoders: those that the process has opened.
        before: the judge in office, which goes on by the new rule where it would be taught the same.

    Raises:
        PolicyError, RetrievalError: it cannot be opened.
    """
    rule = policy.second
    if rule is None:
        return None
    lesson = Lesson(_encoder_of(policy.name, rule, encoder), _digest(rule.weights))
    if isinstance(before, SentenceJudge) and before.was_taught(lesson):
        return before.by(rule)
    opened = (encoders or Encoders()).open(lesson.encoder, "cpu")
    return SentenceJudge(rule, Pupil(lesson, TextClassifier(opened, rule.weights)))


def _encoder_of(policy: str, rule: SecondRule, encoder: str) -> str:
    if not (rule.encoder or encoder):
        raise PolicyError(f"policy {policy}: second.encoder is missing, and OCK_ENCODER is empty; set one of them")
    return rule.encoder or encoder


def _digest(weights: Path) -> str:
    try:
        return sha256_of(weights)
    except OSError as error:
        raise RetrievalError(f"{weights}: {error.strerror}") from error


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
