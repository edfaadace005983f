"""What the scheduler has done so far, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

_WEIGHT = 0.1  # of the newest step in the observed rate
MAX_RETRY_AFTER_S = 60


@dataclass(slots=True)
class Counters:
    """Totals since the start; they only rise."""

    steps: int = 0
    step_seconds: float = 0.0
    generated_tokens: int = 0
    prefilled_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # of the drafted ones, those that became part of a reply
    nonfinite_requests: int = 0  # ended because the model's numbers were not finite
    _tokens_per_step: float = 0.0
    _seconds_per_step: float = 0.0

    def add_step(self, num_tokens: int, num_decoded: int, seconds: float) -> None:
        """A step has come back after `seconds`; `num_decoded` of its `num_tokens` were decodes, the others prefill."""
        weight = _WEIGHT if self.steps else 1.0
        self.steps += 1
        self.step_seconds += seconds
        self.prefilled_tokens += num_tokens - num_decoded
        self._tokens_per_step += weight * (num_tokens - self._tokens_per_step)
        self._seconds_per_step += weight * (seconds - self._seconds_per_step)

    def retry_after_s(self, num_tokens: int) -> float:
        """Whole seconds in which `num_tokens` pass at the observed rate, in [1, MAX_RETRY_AFTER_S]."""
        if not self._tokens_per_step:
            return 1.0
        seconds = num_tokens * self._seconds_per_step / self._tokens_per_step
        return retry_after_s(seconds)


def retry_after_s(seconds: float) -> float:
    """A number of seconds as clients are told it: whole, in [1, MAX_RETRY_AFTER_S]."""
    return float(min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER_S))
