"""The next token of each row of logits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from server.engine.parallel.transfer import to_device
from server.engine.sampling.choice import draw
from server.engine.sampling.penalties import add_bias, forbid_disallowed, forbid_ends, penalise
from server.engine.sampling.row import SamplingRow

MAX_LOGPROBS = 20


class Draws:
    """One sequence's random numbers, one a position of its reply: reproducible from its seed, whatever else runs."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)
        self._drawn: list[float] = []

    def at(self, position: int) -> float:
        """Uniform in [0, 1); the same whenever it is asked for, and however often."""
        while len(self._drawn) <= position:
            self._drawn.append(self._random.random())
        return self._drawn[position]


@dataclass(frozen=True)
class Logprobs:
    """Of the rows that ask for them: the chosen token's, and the most probable tokens' of each row."""

    chosen: Tensor  # [asked]
    top: Tensor  # [asked, MAX_LOGPROBS]
    token_ids: Tensor  # [asked, MAX_LOGPROBS]


@dataclass(frozen=True)
class Sampled:
    """What was made of the rows, on their device.

    Attributes:
        tokens: [rows]; legal ids also where a row was not finite.
        finite: [rows] whether every logit of the row was a finite number.
        logprobs: in the order of the rows that ask for them; None where none does.
    """

    tokens: Tensor
    finite: Tensor
    logprobs: Logprobs | None


class Sampler:
    """Chooses tokens that have a text, or end a reply, from rows of one model's logits."""

    def __init__(self, end_tokens: Sequence[int] = (), textless: Sequence[int] = ()) -> None:
        """`end_tokens` end a reply; `textless` are ids that the vocabulary has and the tokenizer does not."""
        self._end_tokens = tuple(sorted(end_tokens))
        self._textless = _runs(sorted(textless))

    @torch.inference_mode()
    def sample(self, logits: Tensor, rows: Sequence[SamplingRow], sampled_before: Tensor | None = None) -> Sampled:
        """One token a row of `logits` [len(rows), vocab] float32, which are changed; on a GPU nothing waits for it.

        `sampled_before` is what the step before sampled, where rows have tokens that are pending.

        As in transformers: repetition penalty, then temperature, top-k, top-p, min-p; greedy rows take the first
        maximum. Log-probabilities are of the logits as they came, of tokens with a text.
        """
        finite = all_finite(logits)
        if logits.device.type != "cpu" or not bool(finite.all()):
            logits = logits.masked_fill(~finite[:, None], 0.0)
        for start, stop in self._textless:
            logits[:, start:stop] = float("-inf")
        asked = [at for at, row in enumerate(rows) if row.sampling.logprobs is not None]
        raw = logits[to_device(np.array(asked), logits.device)] if asked else None
        self._change(logits, rows, sampled_before)
        tokens = _choose(logits, rows)
        logprobs = None if raw is None else _logprobs(raw, tokens[to_device(np.array(asked), logits.device)])
        return Sampled(tokens, finite, logprobs)

    def _change(self, logits: Tensor, rows: Sequence[SamplingRow], sampled_before: Tensor | None) -> None:
        penalise(logits, rows, sampled_before)
        add_bias(logits, rows)
        forbid_ends(logits, rows, self._end_tokens)
        forbid_disallowed(logits, rows)


def all_finite(logits: Tensor) -> Tensor:
    """[rows] whether all of a row's numbers are finite: a sum is so only if each of its terms is."""
    return logits.sum(-1).isfinite()


def _choose(logits: Tensor, rows: Sequence[SamplingRow]) -> Tensor:
    drawn = [at for at, row in enumerate(rows) if row.is_drawn]
    if len(drawn) == len(rows):
        return draw(logits.float(), rows)
    tokens = _largest(logits)
    if drawn:
        picked = to_device(np.array(drawn), logits.device)
        tokens[picked] = draw(logits[picked].float(), [rows[at] for at in drawn])
    return tokens


def _largest(logits: Tensor) -> Tensor:
    """The first maximum of each row. On the CPU NumPy finds it in a twentieth of torch's time."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return torch.from_numpy(logits.numpy().argmax(-1))
    return logits.argmax(-1)


def _logprobs(logits: Tensor, tokens: Tensor) -> Logprobs:
    total = logits.logsumexp(-1)
    top, token_ids = logits.topk(min(MAX_LOGPROBS, logits.shape[-1]))
    return Logprobs(logits.gather(1, tokens[:, None])[:, 0] - total, top - total[:, None], token_ids)


def _runs(token_ids: Sequence[int]) -> list[tuple[int, int]]:
    """`token_ids` in rising order as half-open ranges."""
    breaks = [at for at in range(1, len(token_ids)) if token_ids[at] != token_ids[at - 1] + 1]
    starts, stops = [0, *breaks], [*breaks, len(token_ids)]
    return [(token_ids[start], token_ids[stop - 1] + 1) for start, stop in zip(starts, stops, strict=True) if token_ids]
