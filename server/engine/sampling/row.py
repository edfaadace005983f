"""What the choice of a token depends on: one row of logits, and nothing of the other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.engine.sampling.seen_tokens import SeenTokens
from server.wire import Sampling


@dataclass(frozen=True)
class SamplingRow:
    """How the token of one row is chosen.

    Attributes:
        sampling: the request's.
        draw: uniform in [0, 1); not looked at by a greedy choice.
        seen: prompt and reply so far; None where nothing is penalised.
        then: tokens behind `seen`: drafted ones, or a `pending_token` that only the device knows.
        num_new_tokens: of the reply before this one.
        allowed: [vocabulary] bool, what a grammar allows here; None: everything.
    """

    sampling: Sampling
    draw: float = 0.0
    seen: SeenTokens | None = None
    then: Sequence[int] = ()
    num_new_tokens: int = 0
    allowed: np.ndarray | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether chance has a part in the choice."""
        return self.sampling.do_sample and self.sampling.temperature > 0

    @property
    def may_not_end(self) -> bool:
        """Whether tokens that end a reply are left out; a grammar knows by itself when a reply may end."""
        too_short = self.num_new_tokens < self.sampling.min_tokens
        return self.allowed is None and (too_short or self.sampling.ignore_eos)


def is_penalised(sampling: Sampling) -> bool:
    """Whether tokens that were there before count."""
    return sampling.repetition_penalty != 1.0 or is_counted(sampling)


def is_counted(sampling: Sampling) -> bool:
    """Whether the tokens of the reply count, whatever is in the prompt."""
    return sampling.frequency_penalty != 0.0 or sampling.presence_penalty != 0.0
