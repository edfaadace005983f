"""A rate with a burst: what is not taken in a minute is there in the next, and no more than a minute's worth."""

from __future__ import annotations

import math
from collections.abc import Callable


class TokenBucket:
    """Holds at most `per_minute`, and is full at first. Not thread-safe: its share is."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._level = per_minute
        self._filled_at = clock()

    def take(self, amount: float) -> float:
        """Take `amount`, or all there can ever be where it is more. 0 when it was taken, else the seconds until it can.

        What is given back meanwhile makes it sooner.
        """
        self._fill()
        amount = min(amount, self.per_minute)
        if self._level >= amount:
            self._level -= amount
            return 0.0
        return (amount - self._level) * 60.0 / self.per_minute

    def give_back(self, amount: float) -> None:
        """Of what was taken `amount` was not used; a negative one was used beyond it, which the next ones wait for."""
        self._fill()
        self._level = min(self.per_minute, self._level + amount)

    def drain(self, other: TokenBucket) -> None:
        """Go on from what `other`, the bucket of an earlier rate, has left."""
        other._fill()
        self._level = min(self.per_minute, other._level)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self.per_minute, self._level + max(0.0, now - self._filled_at) * self.per_minute / 60.0)
        self._filled_at = now


def whole_seconds(seconds: float) -> float:
    """A wait as it is told to clients: never so short that the same request is refused again."""
    return float(max(1, math.ceil(seconds)))
