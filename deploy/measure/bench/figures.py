"""The figures of a run."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.measure.bench.target import Answer

_SHARES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Objective:
    """What a good answer is; None: does not matter. Seconds."""

    first_s: float | None = None
    between_s: float | None = None
    whole_s: float | None = None

    def is_met(self, answer: Answer) -> bool:
        """Whether an answer came whole and in time."""
        if answer.error:
            return False
        found = ((self.first_s, answer.first_s), (self.between_s, answer.between_s), (self.whole_s, answer.whole_s))
        return all(most is None or value is None or value <= most for most, value in found)


def figures(answers: Sequence[Answer], seconds: float, objective: Objective, price_per_hour: float) -> dict[str, Any]:
    """What a run of `seconds` came to; times in milliseconds."""
    good = [each for each in answers if not each.error]
    new_tokens = sum(each.num_new_tokens for each in good)
    result: dict[str, Any] = {
        "requests": len(answers),
        "seconds": round(seconds, 3),
        "errors": dict(Counter(each.error for each in answers if each.error)),
        "requests_per_s": len(good) / seconds,
        "new_tokens_per_s": new_tokens / seconds,
        "prompt_tokens_per_s": sum(each.num_prompt_tokens for each in good) / seconds,
        "goodput_per_s": sum(map(objective.is_met, answers)) / seconds,
        "finish_reasons": dict(Counter(each.finish_reason for each in good)),
        "first_ms": spread([1000 * each.first_s for each in good]),
        "between_ms": spread([1000 * each.between_s for each in good if each.between_s is not None]),
        "whole_ms": spread([1000 * each.whole_s for each in good]),
    }
    if price_per_hour:
        spent = price_per_hour * seconds / 3600
        result["price_per_million_new_tokens"] = 1e6 * spent / new_tokens if new_tokens else None
        result["price_per_thousand_turns"] = 1e3 * spent / len(good) if good else None
    return result


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    at = {f"p{round(100 * share)}": ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in _SHARES}
    return {name: round(value, 3) for name, value in {"mean": statistics.fmean(ordered), **at}.items()}
