"""Tokens that a step was planned with before they were known, found on the device."""

from __future__ import annotations

import torch
from torch import Tensor


def resolve(token_ids: Tensor, sampled: Tensor) -> Tensor:
    """`token_ids` with every `pending_token` replaced by what the step before sampled from that row."""
    rows = (-1 - token_ids).clamp_min(0)
    return torch.where(token_ids < 0, sampled[rows], token_ids)
