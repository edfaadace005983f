"""From a classification's log-probabilities to a verdict; without a finite one there is none, and no text passes."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from server.chat.moderation.policy import Policy, RoleRule
from server.chat.records.turn_records import MODEL, Judgement
from server.errors import ErrorCode, ServiceError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LogProbs = Sequence[Sequence[float]]  # [candidate][token]
_RETRY_AFTER_S = 5.0


def judgement(
    policy: Policy,
    rule: RoleRule,
    candidates: Sequence[Sequence[int]],
    log_probs: LogProbs,
    least: float = 0.0,
    added: float | None = None,
) -> Judgement:
    """The verdict on one window from its candidates' token log-probabilities; no label blocks with a score below
    `least`. What a second judge has `added` counts for the labels that block, and then the likeliest label is found.

    Raises:
        ServiceError: ENGINE_UNAVAILABLE where they are not finite numbers, one for each token of each candidate. A
            text without a verdict is never let through, whatever the engine has checked.
    """
    _refuse_unusable(candidates, log_probs)
    totals = [math.fsum(each) for each in log_probs]
    if added is not None:
        if not math.isfinite(added):
            raise no_verdict("the second judge's scores are not finite numbers")
        totals = [each + added * blocks(rule, name) for name, each in zip(policy.labels, totals, strict=True)]
    highest = max(totals)
    weights = [math.exp(total - highest) for total in totals]
    scores = {label: weight / math.fsum(weights) for label, weight in zip(policy.labels, weights, strict=True)}
    label = (
        policy.labels[greedy_choice(candidates, log_probs)] if added is None else max(scores, key=scores.__getitem__)
    )
    blocking = blocking_label(rule, label, scores, least=least)
    return Judgement(
        label=label,
        scores=scores,
        log_probs=dict(zip(policy.labels, totals, strict=True)),
        blocked=blocking is not None,
        message="" if blocking is None else rule.message_for(blocking),
        judge=MODEL if added is None or policy.second is None else policy.second.name,
        caution=blocking is None and label in rule.caution,
    )


def blocks(rule: RoleRule, label: str) -> bool:
    """Whether `label` can block by `rule`."""
    return label in rule.block or label in dict(rule.thresholds)


def blocking_share(rule: RoleRule, verdict: Judgement) -> float:
    """What the labels that can block have of a verdict's scores."""
    return math.fsum(score for label, score in verdict.scores.items() if blocks(rule, label))


def _refuse_unusable(candidates: Sequence[Sequence[int]], log_probs: LogProbs) -> None:
    complete = [len(each) for each in candidates] == [len(each) for each in log_probs]
    if not complete or not all(math.isfinite(value) for each in log_probs for value in each):
        raise no_verdict("the moderation model's scores are not finite numbers")


def no_verdict(cause: str) -> ServiceError:
    """What is raised where a text cannot be judged."""
    message = f"{cause}: the text cannot be judged, so it goes no further"
    return ServiceError(ErrorCode.ENGINE_UNAVAILABLE, message, retry_after_s=_RETRY_AFTER_S)


def blocking_label(rule: RoleRule, label: str, scores: dict[str, float], least: float = 0.0) -> str | None:
    """The label for which `rule` blocks: the one that was found, or the first whose score reaches its threshold."""
    if label in rule.block and scores[label] >= least:
        return label
    return next((name for name, threshold in rule.thresholds if scores[name] >= max(threshold, least)), None)


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


class VerdictCache(Generic[K, V]):
    """At most `limit` verdicts; the one used longest ago is forgotten first. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._policy: object = None
        self._lock = threading.Lock()

    def keep_for(self, policy: object) -> None:
        """Forget all verdicts that another policy gave."""
        with self._lock:
            if policy is not self._policy:
                self._kept.clear()
                self._policy = policy

    def recall(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of `keys` that are kept. The caller holds on to them: the next call may find them gone."""
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def remember(self, verdicts: Mapping[K, V]) -> None:
        """Keep `verdicts`, in place of the oldest ones where there is no room."""
        with self._lock:
            self._kept.update(verdicts)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
