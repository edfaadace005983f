"""The next token of each row of logits."""

from __future__ import annotations

import random
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import torch
from torch import Tensor

from server.wire import Sampling


@dataclass(frozen=True)
class SamplingRow:
    """What the choice of one row depends on: nothing of the other rows."""

    sampling: Sampling
    token_ids: Rows[int]  # prompt and reply so far
    draw: float  # uniform in [0, 1)


class Draws:
    """One sequence's random numbers: reproducible from its seed, whatever else runs beside it."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)

    def next(self) -> float:
        """Uniform in [0, 1)."""
        return self._random.random()


def sample(logits: Tensor, rows: Rows[SamplingRow]) -> list[int]:
    """One token id a row of `logits` [len(rows), vocab].

    As in transformers: repetition penalty, then temperature, top-k, top-p; then the row's own draw through the
    inverse of the cumulative distribution, most probable token first. Greedy rows take the first maximum.
    """
    logits = _penalised(logits, rows)
    tokens = _largest(logits)
    drawn = [index for index, row in enumerate(rows) if row.sampling.do_sample and row.sampling.temperature > 0]
    if drawn:
        picked = torch.tensor(drawn, device=logits.device)
        tokens[picked] = _draw(logits[picked].float(), [rows[index] for index in drawn])
    return list(tokens.tolist())


def _largest(logits: Tensor) -> Tensor:
    """The first maximum of each row. On the CPU NumPy finds it in a twentieth of torch's time."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return torch.from_numpy(logits.numpy().argmax(-1))
    return logits.argmax(-1)


def _penalised(logits: Tensor, rows: Rows[SamplingRow]) -> Tensor:
    changed = [index for index, row in enumerate(rows) if row.sampling.repetition_penalty != 1.0]
    if not changed:
        return logits
    logits = logits.clone()
    for index in changed:
        row = rows[index]
        seen = torch.tensor(sorted(set(row.token_ids)), device=logits.device)
        scores = logits[index, seen]
        penalty = row.sampling.repetition_penalty
        # Finite whatever the penalty: an infinite score would leave no probabilities to draw from.
        logits[index, seen] = torch.where(scores < 0, scores * penalty, scores / penalty).nan_to_num()
    return logits


def _draw(logits: Tensor, rows: list[SamplingRow]) -> Tensor:
    device, vocabulary = logits.device, logits.shape[-1]
    temperature = torch.tensor([row.sampling.temperature for row in rows], device=device)
    temperature = temperature.clamp_min(torch.finfo(torch.float32).tiny)  # a smaller one rounds to zero
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    ordered = (ordered - ordered[:, :1]) / temperature[:, None]  # at most 0, so that no temperature overflows
    top_k = torch.tensor([row.sampling.top_k or vocabulary for row in rows], device=device)
    ranks = torch.arange(vocabulary, device=device)[None]
    ordered = ordered.masked_fill(ranks >= top_k[:, None], float("-inf"))
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    top_p = torch.tensor([row.sampling.top_p for row in rows], device=device)
    probabilities = probabilities.masked_fill((before >= top_p[:, None]) & (ranks > 0), 0.0)  # the first always stays
    cumulative = probabilities.cumsum(-1)
    target = torch.tensor([row.draw for row in rows], device=device) * cumulative[:, -1]
    place = torch.searchsorted(cumulative, target[:, None], right=True).clamp_max(vocabulary - 1)
    # Rounding may point past the last token that is left; its neighbour with some probability is the right one.
    last = (probabilities > 0).sum(-1, keepdim=True) - 1
    return order.gather(-1, torch.minimum(place, last))[:, 0]
