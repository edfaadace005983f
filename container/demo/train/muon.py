"""Muon in float32 (Jordan and others, 2024): momentum whose matrices are made orthogonal before they move the weights.

The orthogonal matrix comes from five rounds of their quintic Newton-Schulz iteration. PyTorch's own optimiser does the
same in bfloat16, which takes several times as long on a CPU that has no bfloat16 arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.775, 2.0315)  # coefficients that drive singular values towards 1 in few rounds
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Steps matrices by their orthogonalised Nesterov momentum, with decoupled weight decay."""

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._move(matrix, group["lr"], group["weight_decay"], momentum=group["momentum"])

    def _move(self, matrix: nn.Parameter, rate: float, decay: float, momentum: float) -> None:
        state = self.state[matrix]
        mean = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
        assert matrix.grad is not None
        mean.lerp_(matrix.grad, 1 - momentum)
        direction = orthogonalised(matrix.grad.lerp(mean, momentum))
        matrix.mul_(1 - rate * decay)
        matrix.add_(direction, alpha=-rate * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix with the same singular directions whose singular values are all near 1."""
    first, second, third = _QUINTIC
    near = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    near = near / near.norm().clamp(min=1e-7)
    for _ in range(_ROUNDS):
        square = near @ near.T
        near = first * near + (second * square + third * square @ square) @ near
    return near.T if matrix.shape[0] > matrix.shape[1] else near
