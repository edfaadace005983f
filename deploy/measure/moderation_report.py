"""How good the blocking was: confusion matrix, precision and recall with intervals, and what a threshold would do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.measure.moderation_cases import Judged

_Z_95 = 1.959964  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class Share:
    """`hits` of `total`, with Wilson's 95 % interval. Without any case nothing is known: 0 to 1."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share; not a number without cases."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        if self.total == 0:
            return 0.0, 1.0
        share, n, z2 = self.value, self.total, _Z_95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        value = f"{self.value:.3f}" if self.total else "unknown"
        return f"{value} (95 %: {low:.3f} to {high:.3f}; {self.hits} of {self.total})"


@dataclass(frozen=True)
class Blocking:
    """Precision and recall of one way to block."""

    precision: Share  # of those blocked, how many ought to be
    recall: Share  # of those that ought to be, how many are


@dataclass(frozen=True)
class ThresholdPoint:
    """What blocking at a score of at least `threshold` would have done."""

    threshold: float
    blocking: Blocking


def blocking(judged: Sequence[Judged]) -> Blocking:
    """How the server's own blocking did."""
    return _blocking(judged, [each.blocked for each in judged])


def threshold_curve(judged: Sequence[Judged], labels: Sequence[str]) -> list[ThresholdPoint]:
    """Every threshold that makes a difference, ascending, on the highest score among `labels`."""
    scores = [max(each.scores.get(label, 0.0) for label in labels) for each in judged]
    return [
        ThresholdPoint(threshold, _blocking(judged, [score >= threshold for score in scores]))
        for threshold in sorted(set(scores))
    ]


def _blocking(judged: Sequence[Judged], blocked: Sequence[bool]) -> Blocking:
    bad = [each.case.is_bad for each in judged]
    hits = sum(is_bad and is_blocked for is_bad, is_blocked in zip(bad, blocked, strict=True))
    return Blocking(precision=Share(hits, sum(blocked)), recall=Share(hits, sum(bad)))


def confusion(judged: Sequence[Judged]) -> list[str]:
    """The matrix as lines of text: a row per right label, a column per found one; without labels, by blocking."""
    pairs = Counter(_pair(each) for each in judged)
    rows = sorted({right for right, _ in pairs})
    columns = sorted({found for _, found in pairs} | set(rows))
    width = max(len(name) for name in [*rows, *columns]) + 2
    lines = ["right \\ found".ljust(width) + "".join(column.rjust(width) for column in columns)]
    for row in rows:
        lines.append(row.ljust(width) + "".join(str(pairs[row, column]).rjust(width) for column in columns))
    return lines


def _pair(judged: Judged) -> tuple[str, str]:
    if judged.case.label is not None:
        return judged.case.label, judged.label
    return ("bad" if judged.case.is_bad else "good"), ("bad" if judged.blocked else "good")
