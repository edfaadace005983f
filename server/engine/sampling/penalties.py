"""What is changed in a row of logits before a token is chosen from it; all rows together, in place.

Each kind of change is a list of places and values that goes to the device in one copy, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from server.engine.parallel.sampled_tokens import resolve
from server.engine.parallel.transfer import to_device
from server.engine.sampling.row import SamplingRow

_NEVER = float("-inf")


def penalise(logits: Tensor, rows: Sequence[SamplingRow], sampled_before: Tensor | None = None) -> None:
    """Repetition penalty of what is in prompt and reply, frequency and presence penalties of what is in the reply.

    `sampled_before` is what the step before sampled, where rows have tokens that are pending.
    """
    penalised = [(at, row) for at, row in enumerate(rows) if row.seen is not None]
    if not penalised:
        return
    parts = [_seen(row) for _, row in penalised]
    lengths = [len(token_ids) for token_ids, _ in parts]
    device = logits.device
    at = to_device(np.repeat(np.array([at for at, _ in penalised]), lengths), device)
    token_ids = to_device(np.concatenate([each for each, _ in parts]), device)
    counts = to_device(np.concatenate([each for _, each in parts]), device)
    if any(row.then and min(row.then) < 0 for _, row in penalised):
        assert sampled_before is not None, "a pending token needs the step before"
        token_ids, counts = _with_pending(at, token_ids, counts, sampled_before=sampled_before, num_rows=len(rows))
    wanted = [
        (row.sampling.repetition_penalty, row.sampling.frequency_penalty, row.sampling.presence_penalty)
        for _, row in penalised
    ]
    repetition, frequency, presence = to_device(np.repeat(np.array(wanted, np.float32), lengths, 0).T.copy(), device)
    scores = logits[at, token_ids]
    scores = torch.where(scores < 0, scores * repetition, scores / repetition)
    scores = scores - frequency * counts - presence * (counts > 0)
    # Finite whatever the penalty: an infinite score would leave no probabilities to draw from.
    logits[at, token_ids] = scores.nan_to_num()


def _seen(row: SamplingRow) -> tuple[np.ndarray, np.ndarray]:
    assert row.seen is not None, row
    if row.then and min(row.then) < 0:
        token_ids, counts = row.seen.token_ids, row.seen.counts
        return np.append(token_ids, row.then), np.append(counts, np.zeros(len(row.then), np.int64))
    return row.seen.followed_by(row.then)


def _with_pending(
    at: Tensor, token_ids: Tensor, counts: Tensor, sampled_before: Tensor, num_rows: int
) -> tuple[Tensor, Tensor]:
    """The pending token of each row, which has one at most, known and counted in every place where it stands."""
    pending = token_ids < 0
    token_ids = resolve(token_ids, sampled_before)
    last = torch.full((num_rows,), -1, device=at.device).scatter_reduce(
        0, at, torch.where(pending, token_ids, -1), "amax"
    )
    is_last = token_ids == last[at]
    known = torch.zeros(num_rows, dtype=counts.dtype, device=at.device).index_add(0, at, counts * is_last)
    return token_ids, torch.where(is_last, known[at] + 1, counts)


def add_bias(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    """What requests add to the logits of tokens they name."""
    entries = [(at, token, bias) for at, row in enumerate(rows) for token, bias in row.sampling.logit_bias]
    if entries:
        at, token_ids = _places([entry[:2] for entry in entries], logits.device)
        bias = to_device(np.array([entry[2] for entry in entries], np.float32), logits.device)
        logits.index_put_((at, token_ids), bias.to(logits.dtype), accumulate=True)


def forbid_ends(logits: Tensor, rows: Sequence[SamplingRow], end_tokens: Sequence[int]) -> None:
    """No token that ends a reply where it may not end: neither the model's own nor those that a request names."""
    ends = [(*end_tokens, *row.sampling.stop_token_ids) if row.may_not_end else () for row in rows]
    entries = [(at, token) for at, tokens in enumerate(ends) for token in tokens]
    if entries:
        logits[_places(entries, logits.device)] = _NEVER


def forbid_disallowed(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    """Only what a grammar allows, in the rows that have one."""
    allowed = [(at, row.allowed) for at, row in enumerate(rows) if row.allowed is not None]
    if allowed:
        at = to_device(np.array([at for at, _ in allowed]), logits.device)
        masks = to_device(np.stack([mask for _, mask in allowed]), logits.device)
        logits[at] = logits[at].masked_fill(~masks, _NEVER)


def _places(entries: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    at, token_ids = to_device(np.array(entries, np.int64).T.copy(), device)
    return at, token_ids
