"""The tokens that the last step sampled, on every rank's device before any host has read them.

With them a step can be queued behind the one whose tokens it continues (overlapped scheduling, as vLLM's asynchronous
scheduler and SGLang's overlap scheduler do): the device never waits for the scheduler.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist

from server.engine.parallel.group import Rank
from server.engine.schedule.sequence import CHAT
from server.engine.schedule.step import Step


class SampledTokens:
    """Rank 0 broadcasts what it sampled after every step with rows of the chat model, and the others receive it.

    Attributes:
        overlaps: whether steps do; else nothing is exchanged.
        device: the rank's.
        latest: [num_rows] of the last such step.
    """

    def __init__(self, rank: Rank, *, overlaps: bool) -> None:
        self.overlaps = overlaps
        self.device = rank.device
        self.latest = torch.empty(0, dtype=torch.long, device=rank.device)
        self._rank = rank

    def broadcast(self, tokens: Tensor) -> None:
        """Rank 0: the tokens [num_rows] of the step just queued."""
        if self.overlaps and tokens.numel():
            self._exchange(tokens)

    def receive(self, step: Step) -> None:
        """The others: what rank 0 broadcasts after `step`."""
        num_rows = sum(
            segment.num_logits for each in step.model_steps if each.model == CHAT for segment in each.segments
        )
        if self.overlaps and num_rows:
            self._exchange(torch.empty(num_rows, dtype=torch.long, device=self.device))

    def _exchange(self, tokens: Tensor) -> None:
        if self._rank.world > 1:
            dist.broadcast(tokens, 0)
        self.latest = tokens


def resolve(token_ids: Tensor, sampled: Tensor) -> Tensor:
    """`token_ids` with every `pending_token` replaced by what the step before sampled from that row."""
    rows = (-1 - token_ids).clamp_min(0)
    return torch.where(token_ids < 0, sampled[rows], token_ids)
