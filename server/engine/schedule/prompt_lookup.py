"""What a sequence may say next, guessed from what it has said or been asked: replies quote passages and earlier turns.

Prompt lookup decoding (Saxena 2023): the last tokens are sought earlier in the sequence, and what followed there is
the draft. A step computes the draft's tokens beside the last known one, and those that the model would have said too
are the reply's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_GRAMS = (3, 2)  # how many last tokens are sought, the longer first
MAX_DRAFT_TOKENS = 15
_FIRST_RATE = 0.5  # of drafted tokens that turn out right, until more is known
_WEIGHT = 0.15  # of the newest drafted token in the rate
_PROBE_INTERVAL = 16  # steps without a draft after which one token is tried
# What one more row costs a step, beside what it costs to read the weights once. Measured with bfloat16 on a processor
# with AVX-512; others differ, but not so much that the lengths below would be far off.
_ROW_COST = 1 / 24


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
        """Tokens to draft in a step that decodes `num_decodes` sequences.

        One more row pays when the chance that it becomes a token is more than what it adds to the step's time, each
        as a share of the whole step.
        """
        least = _ROW_COST * num_decodes / (1 + _ROW_COST * num_decodes)
        if self.rate > least:
            return min(int(math.log(least) / math.log(min(self.rate, 0.99))), MAX_DRAFT_TOKENS)
        self._num_without += 1
        return int(self._num_without % _PROBE_INTERVAL == 0)

    def note(self, num_drafted: int, num_accepted: int) -> None:
        """A draft was verified: the first `num_accepted` of its tokens were right, and the one behind them was not."""
        for right in [1.0] * num_accepted + [0.0] * (num_accepted < num_drafted):
            self.rate += _WEIGHT * (right - self.rate)
