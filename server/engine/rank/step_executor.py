"""A step on its way: told to every rank, run, sampled from, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from server.engine.model.runner import Runner
from server.engine.parallel.sampled_tokens import SampledTokens
from server.engine.parallel.transfer import Readback, to_device
from server.engine.rank.liveness import Watchdog
from server.engine.rank.step_channel import StepReceiver, StepSender
from server.engine.sampling.row import SamplingRow
from server.engine.sampling.sampler import Sampled, Sampler, all_finite
from server.engine.schedule.sequence import CHAT
from server.engine.schedule.step_plan import ScoreRows, StepPlan


@dataclass(frozen=True)
class RowLogprobs:
    """Of a token that was sampled, and of the most probable ones in its place."""

    chosen: float
    top: tuple[tuple[int, float], ...]  # (token id, log-probability), the most probable first


@dataclass(frozen=True)
class StepResults:
    """What a step brought.

    Attributes:
        tokens: of each row of the chat model; None where its numbers are not finite.
        logprobs: by row, of those that ask for them.
        gathered: for each of the plan's `score_rows` what it asks for; NaN where numbers are not finite.
    """

    tokens: list[int | None]
    logprobs: dict[int, RowLogprobs]
    gathered: list[list[float]]


@dataclass(frozen=True)
class StepUnderWay:
    """A step that every rank has queued, and its results when they are there."""

    plan: StepPlan
    rows: Sequence[SamplingRow]
    readback: Readback


class StepExecutor:
    """Rank 0's side of a step; `overlaps` says whether the next may be queued before this one's results are read."""

    def __init__(
        self,
        runner: Runner,
        sampled_tokens: SampledTokens,
        followers: StepSender,
        sampler: Sampler,
        watchdog: Watchdog,
    ) -> None:
        self._runner = runner
        self._sampled_tokens = sampled_tokens
        self._followers = followers
        self._sampler = sampler
        self._watchdog = watchdog

    @property
    def overlaps(self) -> bool:
        """Whether steps do."""
        return self._sampled_tokens.overlaps

    @torch.inference_mode()
    def queue(self, plan: StepPlan, rows: Sequence[SamplingRow]) -> StepUnderWay:
        """Start `plan` on every rank; `rows` say how the token of each of the chat model's rows is chosen."""
        with self._watchdog:
            self._followers.send(plan.step)
            logits = self._runner.run(plan.step)
            sampled = self._sample(logits, rows)
            self._sampled_tokens.broadcast(sampled.tokens)
            gathered = [gather(logits, each) for each in plan.score_rows]
            readback = Readback([*_tensors(sampled), *gathered], self._sampled_tokens.device)
            return StepUnderWay(plan, rows, readback)

    def results(self, under_way: StepUnderWay) -> StepResults:
        """The results of a step, as soon as it has run."""
        with self._watchdog:
            tokens, finite, chosen, top, token_ids, *gathered = under_way.readback.values()
        asked = [at for at, row in enumerate(under_way.rows) if row.sampling.logprobs is not None]
        logprobs = {
            row: RowLogprobs(chosen[at], tuple(zip(token_ids[at], top[at], strict=True)))
            for at, row in enumerate(asked)
        }
        known = [token if is_finite else None for token, is_finite in zip(tokens, finite, strict=True)]
        return StepResults(known, logprobs, gathered)

    def _sample(self, logits: dict[str, torch.Tensor], rows: Sequence[SamplingRow]) -> Sampled:
        if not rows:
            return Sampled(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.bool), None)
        return self._sampler.sample(logits[CHAT], rows, self._sampled_tokens.latest)


def _tensors(sampled: Sampled) -> list[torch.Tensor]:
    if sampled.logprobs is None:
        return [sampled.tokens, sampled.finite, *(torch.empty(0) for _ in range(3))]
    logprobs = sampled.logprobs
    return [sampled.tokens, sampled.finite, logprobs.chosen, logprobs.top, logprobs.token_ids]


def gather(logits: dict[str, torch.Tensor], rows: ScoreRows) -> torch.Tensor:
    """The log-probabilities that a window asks for, from the rows it names; NaN from a row that is not finite."""
    scores = logits[rows.model]
    used = sorted(set(rows.rows))  # several tokens are asked of one row
    place = {row: index for index, row in enumerate(used)}
    at = [place[row] for row in rows.rows]
    used_rows, at_row, token_ids = (to_device(np.array(each), scores.device) for each in (used, at, rows.token_ids))
    picked = scores[used_rows].float()
    total = torch.where(all_finite(picked), picked.logsumexp(-1), torch.nan)
    return picked[at_row, token_ids] - total[at_row]


def follow(runner: Runner, sampled_tokens: SampledTokens, steps: StepReceiver, watchdog: Watchdog) -> None:
    """The other ranks: run what rank 0 plans until it says stop."""
    while (step := steps.receive()) is not None:
        with watchdog:
            runner.run(step)
            sampled_tokens.receive(step)
