"""Judging a text: from a policy's labels to one classification in the engine group, and to a verdict."""

from __future__ import annotations

import math
import re
import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from server import wire
from server.chat.policy import Policy, Role, RoleRule
from server.chat.records import Judgement

LogProbs = Sequence[Sequence[float]]  # [candidate][token]

# Whatever a renderer may take for the end of a line, and runs of other white space.
_BLANK = re.compile(r"[\s\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
# The markers of the few-shot form; a text that writes them is also judged in the parts between them.
_MARKER = re.compile(r"\b(?:input|output|possible labels)\s*[:\uff1a]", re.IGNORECASE)


class Scorer(Protocol):
    """The part of the engine's client that moderation needs."""

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        """Log-probabilities of candidate continuations, all requests at once."""


class TextEncoder(Protocol):
    """Text to token ids, special tokens never recognised."""

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`."""


@dataclass(frozen=True)
class Classifier:
    """A moderation model in the engine group, with the policy's prompt as its token ids."""

    model: str
    encoder: TextEncoder
    prefix: tuple[int, ...]
    closing: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: str, encoder: TextEncoder, policy: Policy) -> Classifier:
        """Encode the pieces of the prompt one by one, so that no text can merge with them."""
        return cls(
            model=model,
            encoder=encoder,
            prefix=tuple(encoder.encode(policy.prefix()) + encoder.encode(policy.opening)),
            closing=tuple(encoder.encode(policy.closing)),
            candidates=tuple(tuple(encoder.encode(f" {label}") + encoder.encode("\n")) for label in policy.labels),
        )

    def request(self, text: str, deadline_s: float | None) -> wire.Score:
        """The classification of one text, already made plain."""
        return wire.Score(
            request_id=f"score-{uuid.uuid4().hex}",
            model=self.model,
            prefix=self.prefix,
            text=tuple(self.encoder.encode(f" {text}")),
            closing=self.closing,
            candidates=self.candidates,
            deadline_s=deadline_s,
        )


class Moderator:
    """Judges texts of both roles under one policy."""

    def __init__(self, engine: Scorer, policy: Policy, classifiers: dict[Role, Classifier]) -> None:
        self._engine = engine
        self.policy = policy
        self._classifiers = classifiers

    def judge(self, texts: Sequence[str], role: Role, deadline_s: float | None = None) -> list[Judgement]:
        """One judgement a text, in order. Raises ServiceError when the engine group cannot answer."""
        classifier = self._classifiers[role]
        parts = [parts_to_judge(text) for text in texts]
        requests = [classifier.request(part, deadline_s) for each in parts for part in each]
        scored = iter(self._engine.score(requests) if requests else [])
        return [self._worst([next(scored) for _ in each], role) for each in parts]

    def _worst(self, scored: Sequence[wire.Scored], role: Role) -> Judgement:
        """The most severe verdict over the windows of a text's parts."""
        classifier, rule = self._classifiers[role], self.policy.rule(role)
        windows = [log_probs for each in scored for log_probs in each.log_probs]
        judgements = [judgement(self.policy, rule, classifier.candidates, each) for each in windows]
        return max(judgements, key=lambda each: self._severity(each, rule))

    def _severity(self, each: Judgement, rule: RoleRule) -> tuple[bool, int, float]:
        blocking = sum(each.scores[label] for label in {*rule.block, *dict(rule.thresholds)})
        return each.blocked, self.policy.severity.index(each.label), blocking


def parts_to_judge(text: str) -> list[str]:
    """What is classified for `text`: all of it, and the parts between imitated markers each by itself.

    The worst part counts, so nothing that is appended in the form of the few-shot prompt can soften what stands
    before it.
    """
    whole = plain(text)
    pieces = _MARKER.split(whole)
    if len(pieces) == 1:
        return [whole]
    parts = [part.strip() for part in pieces if part.strip()]
    # The colon goes, so that a marker inside a text is only words.
    unmarked = _MARKER.sub(lambda match: match[0].rstrip(":\uff1a "), whole)
    return [unmarked, *parts]


def plain(text: str) -> str:
    """`text` as a reader sees it, on one line: compatibility forms folded, invisible characters gone."""
    folded = unicodedata.normalize("NFKC", text)
    visible = "".join(char for char in folded if unicodedata.category(char) != "Cf")
    return _BLANK.sub(" ", visible).strip()


def judgement(policy: Policy, rule: RoleRule, candidates: Sequence[Sequence[int]], log_probs: LogProbs) -> Judgement:
    """The verdict on one window from its candidates' token log-probabilities."""
    totals = [math.fsum(each) for each in log_probs]
    highest = max(totals)
    weights = [math.exp(total - highest) for total in totals]
    scores = {label: weight / math.fsum(weights) for label, weight in zip(policy.labels, weights, strict=True)}
    label = policy.labels[greedy_choice(candidates, log_probs)]
    blocking = blocking_label(rule, label, scores)
    return Judgement(
        label=label,
        scores=scores,
        log_probs=dict(zip(policy.labels, totals, strict=True)),
        blocked=blocking is not None,
        message="" if blocking is None else rule.message_for(blocking),
    )


def blocking_label(rule: RoleRule, label: str, scores: dict[str, float]) -> str | None:
    """The label for which `rule` blocks: the one that was found, or the first whose score reaches its threshold."""
    if label in rule.block:
        return label
    return next((name for name, threshold in rule.thresholds if scores[name] >= threshold), None)


def greedy_choice(candidates: Sequence[Sequence[int]], log_probs: LogProbs) -> int:
    """The candidate that greedy generation constrained to the candidates would write: the best token at every place."""
    left = list(range(len(candidates)))
    place = 0
    while len(left) > 1:
        going = [index for index in left if len(candidates[index]) > place]
        if not going:
            break
        best = max(going, key=lambda index: log_probs[index][place])
        left = [index for index in going if candidates[index][place] == candidates[best][place]]
        place += 1
    return left[0]
