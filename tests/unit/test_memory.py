"""The memory that is left is the container's own, where it has a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.memory import available_bytes, memory_bytes

MIB = 2**20


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: {64 * 1024} kB\nMemAvailable: {32 * 1024} kB\n")
    return path


@pytest.fixture
def unlimited(tmp_path: Path) -> Path:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text(f"{40 * MIB}\n")
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    (tmp_path / "memory.max").write_text(f"{20 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{15 * MIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {3 * MIB}\n")
    return tmp_path


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text(f"{10 * MIB}\n")
    (tmp_path / "memory/memory.usage_in_bytes").write_text(f"{4 * MIB}\n")
    (tmp_path / "memory/memory.stat").write_text(f"total_inactive_file {MIB}\n")
    return tmp_path


def test_without_a_limit_the_machine_s_own_counts(unlimited: Path, meminfo: Path) -> None:
    assert available_bytes(unlimited, meminfo) == 32 * MIB
    assert memory_bytes(unlimited) > 64 * MIB


def test_a_limit_counts_less_what_is_used_and_cannot_be_dropped(version_2: Path, meminfo: Path) -> None:
    assert available_bytes(version_2, meminfo) == 8 * MIB
    assert memory_bytes(version_2) == 20 * MIB


def test_the_first_version_of_control_groups_is_read_too(version_1: Path, meminfo: Path) -> None:
    assert available_bytes(version_1, meminfo) == 7 * MIB
    assert memory_bytes(version_1) == 10 * MIB


def test_more_used_than_allowed_leaves_nothing(version_2: Path, meminfo: Path) -> None:
    (version_2 / "memory.current").write_text(f"{30 * MIB}\n")
    assert available_bytes(version_2, meminfo) == 0
