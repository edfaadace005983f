from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import distributed as dist

from server.engine.exit_status import NO_SHARED_MEMORY
from server.engine.parallel.transport import TransportError, try_sum
from tests import ROOT

CPU = torch.device("cpu")
HANGING = """
import time, torch
from torch import distributed as dist
from server.engine.parallel.transport import try_sum
dist.all_reduce = lambda tensor: time.sleep(60)
try_sum(torch.device("cpu"), 2, patience_s=0.1)
"""


def test_a_first_sum_that_fails_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: torch.Tensor) -> None:
        raise RuntimeError("NCCL error: unhandled system error\nLast error: shm_open failed")

    monkeypatch.setattr(dist, "all_reduce", fails)
    with pytest.raises(TransportError, match=r"^the ranks cannot sum: NCCL error: unhandled system error$"):
        try_sum(CPU, 2)


def test_a_sum_over_fewer_ranks_is_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: None)
    with pytest.raises(TransportError, match="sum of ones is 1, not 2"):
        try_sum(CPU, 2)


def test_a_right_sum_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.mul_(2))
    try_sum(CPU, 2)


def test_a_sum_that_does_not_end_ends_the_rank() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == NO_SHARED_MEMORY
    assert "did not end within 0.1 s" in done.stderr
