"""What a sequence may say next, guessed from what it has said or been asked: replies quote passages and earlier turns.

Prompt lookup decoding (Saxena 2023): the last tokens are sought earlier in the sequence, and what followed there is
the draft. A step computes the draft's tokens beside the last known one, and those that the model would have said too
are the reply's.
"""

from __future__ import annotations

from collections.abc import Sequence

_GRAMS = (3, 2)  # how many last tokens are sought, the longer first
MAX_DRAFT_TOKENS = 15
_FIRST_RATE = 0.5  # of drafted tokens that turn out right, until more is known
_WEIGHT = 0.15  # of the newest drafted token in the rate
_PROBE_INTERVAL = 16  # steps without a draft after which one token is tried
# What a step costs by its rows, in shares of reading the weights once: the first come with that, each further one costs
# products. Measured with bfloat16 on a processor with AVX-512; others differ, but the lengths below would hardly.
_FREE_ROWS = 4
_ROW_COST = 0.1
_LEAST_GAIN = 1.03  # in tokens a second, for a draft at all


class PromptLookup:
    """Finds what followed the last tokens where they stood before."""

    def __init__(self) -> None:
        self._followed_at: dict[tuple[int, ...], int] = {}  # where what followed these tokens last stands
        self._num_indexed = 0

    def draft(self, tokens: Sequence[int], num_tokens: int) -> tuple[int, ...]:
        """At most `num_tokens` that may follow `tokens`, which must begin as they did in the call before."""
        self._index(tokens)
        for size in _GRAMS:
            at = self._followed_at.get(tuple(tokens[-size:])) if len(tokens) >= size else None
            if at is not None:
                period = len(tokens) - at  # beyond the end what is drafted goes on as it came
                return tuple(tokens[at + offset % period] for offset in range(num_tokens))
        return ()

    def _index(self, tokens: Sequence[int]) -> None:
        for end in range(max(self._num_indexed, 1), len(tokens)):
            for size in _GRAMS:
                if end >= size:
                    self._followed_at[tuple(tokens[end - size : end])] = end
        self._num_indexed = len(tokens)


class DraftLength:
    """How much of a sequence to draft: as much as pays, by how often its drafts were right."""

    def __init__(self) -> None:
        self.rate = _FIRST_RATE
        self._num_without = 0

    def tokens(self, num_decodes: int) -> int:
        """Tokens to draft in a step that decodes `num_decodes` sequences: as many as promise most tokens a second."""
        expected, right = float(num_decodes), 1.0
        best, fastest = 0, _LEAST_GAIN * expected / _cost(num_decodes)
        for length in range(1, MAX_DRAFT_TOKENS + 1):
            right *= self.rate
            expected += right
            speed = expected / _cost(num_decodes + length)
            if speed > fastest:
                best, fastest = length, speed
        if best:
            return best
        self._num_without += 1
        return int(self._num_without % _PROBE_INTERVAL == 0)

    def note(self, num_drafted: int, num_accepted: int) -> None:
        """A draft was verified: the first `num_accepted` of its tokens were right, and the one behind them was not."""
        for right in [1.0] * num_accepted + [0.0] * (num_accepted < num_drafted):
            self.rate += _WEIGHT * (right - self.rate)


def _cost(num_rows: int) -> float:
    return 1.0 + _ROW_COST * max(0, num_rows - _FREE_ROWS)
