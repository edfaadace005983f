"""Judging a text: from a policy's labels to one classification in the engine group, and to a verdict."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from server import wire
from server.chat.moderation.policy import Policy, Role, RoleRule
from server.chat.records.turn_records import Judgement
from server.chat.text.lookalikes import readings

LogProbs = Sequence[Sequence[float]]  # [candidate][token]

# The markers of the few-shot form, wherever they stand and however they are spaced; a text that writes them is also
# judged in the parts between them.
_WORDS = "|".join(" ?".join(word) for word in ("input", "output", "possiblelabels"))
_MARKER = re.compile(rf"({_WORDS})(?: ?[:\uff1a])+", re.IGNORECASE)
# What one call may have in the queue at once, so that a long list leaves places to others.
_TEXTS_AT_ONCE = 8
_TOKENS_AT_ONCE = 8192


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

    def request(
        self, text: str, deadline_s: float | None, parts: Sequence[str] = (), *, of_reply: bool = False
    ) -> wire.Score:
        """The classification of one text with its parts, all made plain already."""
        return wire.Score(
            request_id=f"score-{uuid.uuid4().hex}",
            model=self.model,
            prefix=self.prefix,
            text=self._encoded(text),
            closing=self.closing,
            candidates=self.candidates,
            deadline_s=deadline_s,
            parts=tuple(map(self._encoded, parts)),
            of_reply=of_reply,
        )

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self.encoder.encode(f" {text}"))


class Moderator:
    """Judges texts of both roles under one policy."""

    def __init__(self, engine: Scorer, policy: Policy, classifiers: dict[Role, Classifier]) -> None:
        self._engine = engine
        self.policy = policy
        self._classifiers = classifiers

    def judge(self, texts: Sequence[str], role: Role, deadline_s: float | None = None) -> list[Judgement]:
        """One judgement a text, in order; a few at a time are under way.

        Raises:
            ServiceError: a text is too long, or the engine group cannot answer.
        """
        end = None if deadline_s is None else time.monotonic() + deadline_s
        judgements: list[Judgement] = []
        for group in _groups([self._request(text, role) for text in texts]):
            left_s = None if end is None else max(0.0, end - time.monotonic())
            timed = [msgspec.structs.replace(each, deadline_s=left_s) for each in group]
            judgements += [self._worst(each, role) for each in self._engine.score(timed)]
        return judgements

    def judge_reply(self, text: str, deadline_s: float) -> Judgement:
        """The judgement on a reply under way; no other text can keep it waiting. Raises ServiceError."""
        request = self._request(text, Role.OUTPUT, of_reply=True)
        [scored] = self._engine.score([msgspec.structs.replace(request, deadline_s=deadline_s)])
        return self._worst(scored, Role.OUTPUT)

    def _request(self, text: str, role: Role, *, of_reply: bool = False) -> wire.Score:
        whole, *parts = parts_to_judge(text)
        return self._classifiers[role].request(whole, None, parts, of_reply=of_reply)

    def _worst(self, scored: wire.Scored, role: Role) -> Judgement:
        """The most severe verdict over the windows of a text and its parts."""
        classifier, rule = self._classifiers[role], self.policy.rule(role)
        judgements = [judgement(self.policy, rule, classifier.candidates, each) for each in scored.log_probs]
        return max(judgements, key=lambda each: self._severity(each, rule))

    def _severity(self, each: Judgement, rule: RoleRule) -> tuple[bool, int, float]:
        blocking = sum(each.scores[label] for label in {*rule.block, *dict(rule.thresholds)})
        return each.blocked, self.policy.severity.index(each.label), blocking


def parts_to_judge(text: str) -> list[str]:
    """What is classified for `text`, each once: every reading of it, whole and in the parts between imitated markers.

    The worst counts, so neither look-alikes nor invisible characters hide what a reader sees, and nothing that is
    appended in the form of the few-shot prompt can soften what stands before it.
    """
    return list(dict.fromkeys(part for reading in readings(text) for part in _parts(reading)))


def _parts(reading: str) -> list[str]:
    """The reading, with the colons of its markers gone so that they are only words; then what stands between them."""
    unmarked = _MARKER.sub(r"\1", reading)
    if unmarked == reading:
        return [reading]
    between = (part.strip() for part in _MARKER.sub("\n", reading).splitlines())
    return [unmarked, *(part for part in between if part)]


def _groups(requests: Sequence[wire.Score]) -> Iterator[list[wire.Score]]:
    """`requests` in order, a few at a time."""
    group: list[wire.Score] = []
    num_tokens = 0
    for request in requests:
        size = len(request.text) + sum(map(len, request.parts))
        if group and (len(group) == _TEXTS_AT_ONCE or num_tokens + size > _TOKENS_AT_ONCE):
            yield group
            group, num_tokens = [], 0
        group.append(request)
        num_tokens += size
    if group:
        yield group


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
