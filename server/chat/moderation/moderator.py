"""Judging texts: a first look, what is classified of each where that finds something, and the worst verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from server import wire
from server.chat.moderation.audit import AuditLog
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.first_look import Ask, FirstLook
from server.chat.moderation.judges import Judges
from server.chat.moderation.parts import ReplySpan, Screen, has_several_sentences, screen_span, screen_text
from server.chat.moderation.policy import Policy, Role
from server.chat.moderation.second_judge import SecondJudge
from server.chat.moderation.verdict import LogProbs, blocking_share, judgement, no_verdict
from server.chat.records.turn_records import Judgement

log = logging.getLogger(__name__)

# What one call may have in the queue at once, so that a long list leaves places to others.
_TEXTS_AT_ONCE = 8
_TOKENS_AT_ONCE = 8192


@dataclass(frozen=True)
class Window:
    """As much of a part of a text as the model reads at once.

    Attributes:
        is_run: whether the part is of several sentences.
        least: what the score of a blocking label must reach in it.
    """

    part: str
    log_probs: LogProbs
    is_run: bool
    least: float


class Scorer(Protocol):
    """The part of the engine's client that moderation needs."""

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        """Log-probabilities of candidate continuations, all requests at once."""


class Moderator:
    """Judges texts of all roles under one policy; of all its judges the worst verdict counts. Thread-safe."""

    def __init__(
        self,
        engine: Scorer,
        policy: Policy,
        classifiers: Mapping[Role, Classifier],
        *,
        second: SecondJudge | None = None,
        shows_scores: bool = True,
        audit: AuditLog | None = None,
    ) -> None:
        """A role without a classifier of its own is judged by the input's. `second` is the policy's second judge, where
        it has one. Without `shows_scores` verdicts are labels alone.
        """
        self._engine = engine
        self._shows_scores = shows_scores
        self._audit = audit
        self.adopt(policy, classifiers, second)

    def adopt(self, policy: Policy, classifiers: Mapping[Role, Classifier], second: SecondJudge | None = None) -> None:
        """Judge by `policy` from now on; what is under way may still be judged by the one before."""
        assert (policy.second is None) == (second is None), policy.second
        self.policy = policy
        self.second = second
        self._judges = Judges(policy.judges)
        self._classifiers = {role: classifiers.get(role, classifiers[Role.INPUT]) for role in Role}
        self._first_looks = {
            role: FirstLook(policy, policy.rule(role), each) for role, each in self._classifiers.items()
        }

    def note(self, request_id: str, role: Role, verdict: Judgement, text: str) -> None:
        """Write what was decided about a request's text into the audit log, where there is one."""
        if self._audit is not None:
            self._audit.note(request_id, role.value, verdict, text)

    def masked(self, text: str, role: Role) -> str:
        """`text` as it may be judged, prompted, searched for, stored and shown."""
        return self._judges.masked(text, role)

    def masks(self, role: Role) -> bool:
        """Whether anything of `role` is masked."""
        return self._judges.masks(role)

    def uncut(self, text: str, end: int, role: Role) -> int:
        """The last place up to `end` at which `text` may be parted so that nothing masked is."""
        return self._judges.uncut(text, end, role)

    def judge(
        self, texts: Sequence[str], role: Role, deadline_s: float | None = None, *, caller: str = ""
    ) -> list[Judgement]:
        """One judgement a text, in order; a few at a time are under way. `caller` is as whom they wait in the queue.

        Raises:
            ServiceError: a text is too long, or the engine group cannot answer.
        """
        end = None if deadline_s is None else time.monotonic() + deadline_s

        def ask(requests: Sequence[wire.Score]) -> list[wire.Scored]:
            return self._ask([msgspec.structs.replace(each, caller=caller) for each in requests], end)

        verdicts = self._verdicts([screen_text(text) for text in texts], role, ask, end=end)
        return [self._worst(each, text, role) for each, text in zip(verdicts, texts, strict=True)]

    def judge_reply(self, span: ReplySpan, deadline_s: float, *, caller: str = "") -> Judgement:
        """The judgement on a part of a reply under way; no other text can keep it waiting. Raises ServiceError."""
        end = time.monotonic() + deadline_s

        def ask(requests: Sequence[wire.Score]) -> list[wire.Scored]:
            return self._ask([msgspec.structs.replace(each, of_reply=True, caller=caller) for each in requests], end)

        [verdict] = self._verdicts([screen_span(span)], Role.OUTPUT, ask, end=end)
        return self._worst(verdict, span.whole or " ".join((*span.before, span.text)), Role.OUTPUT)

    def worse(self, first: Judgement, second: Judgement) -> Judgement:
        """Of two verdicts the more severe one; of equal ones the second, or the one that has scores."""
        return max((second, first), key=self._rank)

    def _rank(self, each: Judgement) -> tuple[bool, bool, int, bool]:
        known = each.label in self.policy.severity
        severity = self.policy.severity.index(each.label) if known else 0
        return each.blocked, each.caution, severity, bool(each.scores)

    def _verdicts(self, screens: Sequence[Screen], role: Role, ask: Ask, *, end: float | None) -> list[Judgement]:
        """The verdict on each of the model, and of the second judge where there is one; what a first look finds nothing
        in is not taken apart.
        """
        looks = self._first_looks[role]
        found = looks.verdicts(screens, ask) if looks.tells else [None] * len(screens)
        closer = [screen.closer() for screen, verdict in zip(screens, found, strict=True) if verdict is None]
        classifier = self._classifiers[role]
        scored = ask([classifier.request(each[0], None, each[1:]) for each in closer])
        windows = [self._windows(of, each) for each, of in zip(closer, scored, strict=True)]
        judged = iter([max(each, key=self._severity(role)) for each in self._judged(windows, role, end)])
        return [next(judged) if each is None else each for each in found]

    def _judged(self, texts: Sequence[Sequence[Window]], role: Role, end: float | None) -> list[list[Judgement]]:
        """The verdict on each window of each text. What the model does not find harmless the second judge reads, too,
        all such parts of all texts at once.
        """
        candidates, rule = self._classifiers[role].candidates, self.policy.rule(role)

        def judged(window: Window, added: float | None = None) -> Judgement:
            return judgement(self.policy, rule, candidates, window.log_probs, least=window.least, added=added)

        found = [[judged(window) for window in text] for text in texts]
        if self.second is None:
            return found
        second = self.second.rule
        doubtful = [
            (verdicts, place, window)
            for text, verdicts in zip(texts, found, strict=True)
            for place, window in enumerate(text)
            if blocking_share(rule, verdicts[place]) >= (second.asked_of_runs if window.is_run else second.asked_from)
        ]
        log_odds = self.second.log_odds([window.part for _, _, window in doubtful], end) if doubtful else []
        for (verdicts, place, window), each in zip(doubtful, log_odds, strict=True):
            verdicts[place] = judged(window, added=second.share * each + second.lean)
        return found

    def _ask(self, requests: Sequence[wire.Score], end: float | None) -> list[wire.Scored]:
        """The scores of `requests`, a few of which are under way at a time; by `end` on the monotonic clock."""
        scored: list[wire.Scored] = []
        for group in _groups(requests):
            left_s = None if end is None else max(0.0, end - time.monotonic())
            scored += self._engine.score([msgspec.structs.replace(each, deadline_s=left_s) for each in group])
        return scored

    def _windows(self, scored: wire.Scored, parts: Sequence[str]) -> list[Window]:
        """What the model read of a text and its parts. Raises ServiceError where a part lacks."""
        num_more = len(scored.log_probs) - len(parts)
        if num_more < 0:
            raise no_verdict(f"the moderation model judged {len(scored.log_probs)} of {len(parts)} parts")
        are_runs = [has_several_sentences(part) for part in parts]
        # A text, or a part, beyond the model's window is several windows: the strictest of what counts for the first.
        of_parts = [*zip(parts, are_runs, self._least_scores(are_runs), strict=True)]
        of_windows = of_parts[:1] * num_more + of_parts
        return [
            Window(part, log_probs, is_run=is_run, least=least)
            for (part, is_run, least), log_probs in zip(of_windows, scored.log_probs, strict=True)
        ]

    def _least_scores(self, are_runs: Sequence[bool]) -> list[float]:
        """What the score of a blocking label must reach in each part; nothing where a text is one sentence."""
        if not any(are_runs):
            return [0.0] * len(are_runs)
        return [self.policy.runs if each else self.policy.sentences for each in are_runs]

    def _severity(self, role: Role) -> Callable[[Judgement], tuple[bool, int, float]]:
        """By what the most severe of a text's verdicts is found."""
        rule, severity = self.policy.rule(role), self.policy.severity
        return lambda each: (each.blocked, severity.index(each.label), blocking_share(rule, each))

    def _worst(self, verdict: Judgement, text: str, role: Role) -> Judgement:
        """The worst of what the model and the other judges say of `text`; in a dry run it is only logged."""
        found = (verdict, *self._judges.verdicts(text, role))
        worst = max(found, key=lambda each: (each.blocked, each.caution))
        if self.policy.dry_run and (worst.blocked or worst.caution):
            log.info("moderation.dry_run role=%s judge=%s label=%s", role.value, worst.judge, worst.label)
            worst = msgspec.structs.replace(worst, blocked=False, caution=False, message="")
        return worst if self._shows_scores else msgspec.structs.replace(worst, scores={}, log_probs={})


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
