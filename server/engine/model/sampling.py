"""The next token of each row of logits."""

from __future__ import annotations

import random
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from server.engine.parallel.sampled_tokens import resolve
from server.engine.parallel.transfer import to_device
from server.wire import Sampling


@dataclass(frozen=True)
class SamplingRow:
    """What the choice of one row depends on: nothing of the other rows."""

    sampling: Sampling
    token_ids: Rows[int]  # prompt and reply so far; the last one may be pending
    draw: float  # uniform in [0, 1)


class Draws:
    """One sequence's random numbers: reproducible from its seed, whatever else runs beside it."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)

    def next(self) -> float:
        """Uniform in [0, 1)."""
        return self._random.random()


def sample(logits: Tensor, rows: Rows[SamplingRow], sampled_before: Tensor | None = None) -> Tensor:
    """One token id [len(rows)] a row of `logits` [len(rows), vocab], on their device; nothing waits for it.

    `sampled_before` is what the step before sampled, where rows have tokens that are pending.

    As in transformers: repetition penalty, then temperature, top-k, top-p; then the row's own draw through the
    inverse of the cumulative distribution, most probable token first. Greedy rows take the first maximum.
    """
    logits = _penalised(logits, rows, sampled_before)
    tokens = _largest(logits)
    drawn = [index for index, row in enumerate(rows) if row.sampling.do_sample and row.sampling.temperature > 0]
    if drawn:
        picked = _on(logits.device, drawn, np.int64)
        tokens[picked] = _draw(logits[picked].float(), [rows[index] for index in drawn])
    return tokens


def _largest(logits: Tensor) -> Tensor:
    """The first maximum of each row. On the CPU NumPy finds it in a twentieth of torch's time."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return torch.from_numpy(logits.numpy().argmax(-1))
    return logits.argmax(-1)


def _penalised(logits: Tensor, rows: Rows[SamplingRow], sampled_before: Tensor | None) -> Tensor:
    changed = [index for index, row in enumerate(rows) if row.sampling.repetition_penalty != 1.0]
    if not changed:
        return logits
    logits = logits.clone()
    for index in changed:
        row = rows[index]
        token_ids = sorted(set(row.token_ids))
        seen = _on(logits.device, token_ids, np.int64)
        if token_ids[0] < 0:
            assert sampled_before is not None, "a pending token needs the step before"
            seen = resolve(seen, sampled_before)
        scores = logits[index, seen]
        penalty = row.sampling.repetition_penalty
        # Finite whatever the penalty: an infinite score would leave no probabilities to draw from.
        logits[index, seen] = torch.where(scores < 0, scores * penalty, scores / penalty).nan_to_num()
    return logits


def _draw(logits: Tensor, rows: list[SamplingRow]) -> Tensor:
    device, vocabulary = logits.device, logits.shape[-1]
    temperature = _on(device, [row.sampling.temperature for row in rows], np.float32)
    temperature = temperature.clamp_min(torch.finfo(torch.float32).tiny)  # a smaller one rounds to zero
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    ordered = (ordered - ordered[:, :1]) / temperature[:, None]  # at most 0, so that no temperature overflows
    top_k = _on(device, [row.sampling.top_k or vocabulary for row in rows], np.int64)
    ranks = torch.arange(vocabulary, device=device)[None]
    ordered = ordered.masked_fill(ranks >= top_k[:, None], float("-inf"))
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    top_p = _on(device, [row.sampling.top_p for row in rows], np.float32)
    probabilities = probabilities.masked_fill((before >= top_p[:, None]) & (ranks > 0), 0.0)  # the first always stays
    cumulative = probabilities.cumsum(-1)
    target = _on(device, [row.draw for row in rows], np.float32) * cumulative[:, -1]
    place = torch.searchsorted(cumulative, target[:, None], right=True).clamp_max(vocabulary - 1)
    # Rounding may point past the last token that is left; its neighbour with some probability is the right one.
    last = (probabilities > 0).sum(-1, keepdim=True) - 1
    return order.gather(-1, torch.minimum(place, last))[:, 0]


def _on(device: torch.device, values: Rows[float], dtype: type[np.generic]) -> Tensor:
    return to_device(np.array(values, dtype=dtype), device)
