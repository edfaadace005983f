from __future__ import annotations

import os
from pathlib import Path

import pytest

from container.machine.cores import num_cores


def first_version(quota: int) -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": str(quota), "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "400000 100000"}, 4),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "1600000 100000"}, 8),
        (first_version(400000), 4),
        (first_version(50000), 1),
        (first_version(-1), 8),
        ({}, 8),
    ],
)
def test_a_quota_of_either_version_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert num_cores(tmp_path) == cores
