"""A kernel takes effect only if it runs and gives what it should."""

from __future__ import annotations

import pytest
import torch

from server.engine.model.kernel_proof import proven


def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def nearly_doubled(x: torch.Tensor) -> torch.Tensor:
    return 2.001 * x


def halved(x: torch.Tensor) -> torch.Tensor:
    return x / 2


def not_a_number(x: torch.Tensor) -> torch.Tensor:
    return x * float("nan")


def uncompilable(x: torch.Tensor) -> torch.Tensor:
    raise FileNotFoundError("gcc")


def test_what_rounds_otherwise_is_proven() -> None:
    assert proven(nearly_doubled, doubled, torch.ones(3))


@pytest.mark.parametrize("kernel", [halved, not_a_number, uncompilable])
def test_what_is_off_or_does_not_run_is_not_and_the_log_says_why(
    kernel: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert not proven(kernel, doubled, torch.ones(3))  # type: ignore[arg-type]
    assert f"kernel.off name={kernel.__name__}" in caplog.text  # type: ignore[attr-defined]
