"""The float32 optimizer for matrices, beside PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from container.demo.train.muon import Muon, orthogonalised


def random_matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = random_matrix(*shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix) @ right.T
    strengths = turned.diagonal()
    assert strengths.min() > 0.5
    assert strengths.max() < 1.3
    assert (turned - strengths.diag()).abs().max() < 1e-3


def test_a_zero_gradient_moves_nothing() -> None:
    assert orthogonalised(torch.zeros(4, 8)).abs().max() == 0


@pytest.mark.parametrize("shape", [(24, 24), (12, 36), (36, 12)])
def test_steps_are_those_of_pytorch_but_for_rounding(shape: tuple[int, int]) -> None:
    ours, theirs = nn.Parameter(random_matrix(*shape)), nn.Parameter(random_matrix(*shape))
    optimizers = (
        Muon([ours], lr=0.01, weight_decay=0.05, momentum=0.95),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.05, momentum=0.95, nesterov=True),
    )
    for step in range(5):
        for matrix, optimizer in zip((ours, theirs), optimizers, strict=True):
            matrix.grad = random_matrix(*shape, seed=step + 1)
            optimizer.step()
    moved = (theirs - random_matrix(*shape)).norm()
    assert (ours - theirs).norm() < 0.03 * moved


def test_a_matrix_without_gradient_stays() -> None:
    matrix = nn.Parameter(random_matrix(4, 4))
    Muon([matrix], lr=1.0, weight_decay=0.5, momentum=0.9).step()
    assert matrix.equal(random_matrix(4, 4))
