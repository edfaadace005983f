"""The first look at a text, by the first word of each label: whether it is worth looking closer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.parts import Screen
from server.chat.moderation.policy import Policy, RoleRule
from server.chat.moderation.verdict import LogProbs, judgement, no_verdict
from server.chat.records.turn_records import Judgement

Ask = Callable[[Sequence[wire.Score]], list[wire.Scored]]  # the engine's answers, in order


class FirstLook:
    """What a policy makes of first looks in one role.

    A look is suspicious where it finds another label than the mildest, or where the labels from which something follows
    have a share of `policy.screen` together. What is not is judged no further.
    """

    def __init__(self, policy: Policy, rule: RoleRule, classifier: Classifier) -> None:
        self._policy = policy
        self._rule = rule
        self._classifier = classifier
        first_word = {label: each[0] for label, each in zip(policy.labels, classifier.candidates, strict=True)}
        self._mildest = first_word[policy.severity[0]]
        self._watched = {first_word[label] for label in (*rule.block, *dict(rule.thresholds), *rule.caution)}
        self._least = min([policy.screen, *dict(rule.thresholds).values()])

    @property
    def tells(self) -> bool:
        """Whether a first word can say that a text is harmless, and the policy asks for it."""
        return self._policy.screen > 0 and self._mildest not in self._watched

    def verdicts(self, screens: Sequence[Screen], ask: Ask) -> list[Judgement | None]:
        """The verdict on each where no look finds anything; None where it must be looked at closer.

        Raises:
            ServiceError: the engine group cannot answer, or not with a number for every look.
        """
        requests = [self._requests(each) for each in screens]
        scored = iter(ask([request for each in requests for request in each]))
        return [self._verdict(screen, [next(scored) for _ in of]) for screen, of in zip(screens, requests, strict=True)]

    def _requests(self, screen: Screen) -> list[wire.Score]:
        """What is asked of the engine, the main text first."""
        main = [] if screen.main is None else [self._classifier.request(screen.main, None)]
        return main + ([self._classifier.look(screen.others)] if screen.others else [])

    def _verdict(self, screen: Screen, scored: Sequence[wire.Scored]) -> Judgement | None:
        looks = list(scored)
        found = Judgement(label=self._policy.severity[0], scores={}, log_probs={}, blocked=False, message="")
        if screen.main is not None:
            of_main = looks.pop(0).log_probs
            if not of_main or len(of_main) > 1:
                return None
            found = judgement(self._policy, self._rule, self._classifier.candidates, log_probs=of_main[0])
            if self._is_suspicious(_first_words(self._classifier, of_main[0])):
                return found if self._policy.second is None and screen.closer() == [screen.main] else None
        for each in looks:
            if len(each.log_probs) < len(screen.others):
                raise no_verdict(f"the moderation model looked at {len(each.log_probs)} of {len(screen.others)} parts")
            if any(self._is_suspicious(_single_words(self._classifier, look)) for look in each.log_probs):
                return None
        return found

    def _is_suspicious(self, first_words: Mapping[int, float]) -> bool:
        if not all(map(math.isfinite, first_words.values())):
            raise no_verdict("the moderation model's scores are not finite numbers")
        if max(first_words, key=lambda token: first_words[token]) != self._mildest:
            return True
        weights = {token: math.exp(value) for token, value in first_words.items()}
        return math.fsum(weights[token] for token in self._watched) >= self._least * math.fsum(weights.values())


def _first_words(classifier: Classifier, log_probs: LogProbs) -> dict[int, float]:
    """The log-probability of each first word, of one text classified with all labels."""
    if len(log_probs) != len(classifier.candidates) or not all(log_probs):
        raise no_verdict("the moderation model's scores are not those of its labels")
    return {candidate[0]: each[0] for candidate, each in zip(classifier.candidates, log_probs, strict=True)}


def _single_words(classifier: Classifier, log_probs: LogProbs) -> dict[int, float]:
    """The same, of one text that was looked at."""
    if [len(each) for each in log_probs] != [1] * len(classifier.first_words):
        raise no_verdict("the moderation model's scores are not those of its labels' first words")
    return {token: each[0] for token, each in zip(classifier.first_words, log_probs, strict=True)}
