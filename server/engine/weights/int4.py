"""Weights of four bits as packages and the torch path hold them, rounded as server/engine/cpu/native/matrix.h does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

GROUP = 32  # inputs that share a scale and a zero
Int4Shapes = tuple[tuple[tuple[int, ...], torch.dtype], ...]


class Int4Weight(NamedTuple):
    """W [outputs, inputs]: input k is scales * steps[k // 32] * (q[k] - zeros[k // 32] / 16), q from 0 to 15.

    Attributes:
        halves: uint8 [outputs, groups * 16]; byte i of a group holds its input i low and its input i + 16 high.
        steps, zeros: uint8 [outputs, groups].
        scales: float32 [outputs].
    """

    halves: Tensor
    steps: Tensor
    zeros: Tensor
    scales: Tensor

    @property
    def nbytes(self) -> int:
        """Of all of it."""
        return sum(each.nbytes for each in self)

    @classmethod
    def shapes(cls, outputs: int, inputs: int) -> Int4Shapes:
        """Shape and dtype of each part of a weight [outputs, inputs]."""
        groups = -(-inputs // GROUP)
        whole, each = (outputs, groups * GROUP // 2), (outputs, groups)
        return ((whole, torch.uint8), (each, torch.uint8), (each, torch.uint8), ((outputs,), torch.float32))


def quantise_int4(weight: Tensor) -> Int4Weight:
    """`weight` [outputs, inputs] rounded to nearest, every 32 inputs between their own least and largest."""
    values = pad(weight.float(), (0, -weight.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
    least, most = values.amin(-1).clamp_max(0), values.amax(-1).clamp_min(0)
    scales = ((most - least).amax(1) / 15 / 255).clamp_min(1e-20)
    steps = ((most - least) / 15 / scales[:, None]).round().clamp(1, 255)
    size = steps * scales[:, None]
    zeros = (-least / size * 16).round().clamp(0, 255)
    q = (values / size[..., None] + zeros[..., None] / 16).round().clamp(0, 15).to(torch.uint8)
    halves = q[..., : GROUP // 2] | q[..., GROUP // 2 :] << 4
    return Int4Weight(halves.flatten(1).contiguous(), steps.to(torch.uint8), zeros.to(torch.uint8), scales=scales)


def widened(weight: Int4Weight, num_inputs: int, dtype: torch.dtype) -> Tensor:
    """[outputs, num_inputs] in `dtype`."""
    halves = weight.halves.unflatten(1, (-1, GROUP // 2))
    q = torch.cat((halves & 15, halves >> 4), -1).to(torch.float32)
    size = weight.steps * weight.scales[:, None]
    values = (q - weight.zeros[..., None] / 16) * size[..., None]
    return values.flatten(1)[:, :num_inputs].to(dtype)
