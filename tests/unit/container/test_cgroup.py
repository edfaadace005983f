from __future__ import annotations

from pathlib import Path

import pytest

from container.cgroup import cores_limit, memory_limit

GIB = 2**30


def group(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def first(quota: int) -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": str(quota), "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "400000 100000"}, 4),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        (first(400000), 4),
        (first(50000), 1),
        (first(-1), None),
        ({}, None),
    ],
)
def test_the_quota_of_either_version_is_whole_cores(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    assert cores_limit(group(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": str(4 * GIB)}, 4 * GIB),
        ({"memory.max": "max"}, None),
        ({"memory/memory.limit_in_bytes": str(4 * GIB)}, 4 * GIB),
        ({}, None),
    ],
)
def test_the_memory_of_either_version_is_read(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    assert memory_limit(group(tmp_path, files)) == limit
