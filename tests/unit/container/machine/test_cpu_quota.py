from __future__ import annotations

import os
from pathlib import Path

import pytest

from container.machine.cpu_quota import num_cores
from tests.unit.cgroup_tree import cgroup_tree


def first(quota: int) -> dict[str, str]:
    return {"cpu.cfs_quota_us": str(quota), "cpu.cfs_period_us": "100000"}


def second(quota: int | str) -> dict[str, str]:
    return {"cpu.max": f"{quota} 100000"}


@pytest.mark.parametrize(
    ("version", "groups", "cores"),
    [
        (2, {"/": second(400000)}, 4),
        (2, {"/": second(250000)}, 2),
        (2, {"/": second(50000)}, 1),
        (2, {"/": second("max")}, 8),
        (2, {"/": second(1600000)}, 8),
        (2, {"/": second("max"), "/pods": second(300000), "/pods/a": second("max")}, 3),
        (2, {"/": {}, "/pods/a": second(200000)}, 2),
        (1, {"/": first(400000)}, 4),
        (1, {"/": first(50000)}, 1),
        (1, {"/": first(-1)}, 8),
        (1, {"/": first(-1), "/docker/a": first(300000)}, 3),
        (2, {"/": {}}, 8),
    ],
)
def test_the_smallest_quota_of_a_group_and_its_parents_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, groups: dict[str, dict[str, str]], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert num_cores(cgroup_tree(tmp_path, version, "cpu", groups)) == cores
