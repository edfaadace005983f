"""The memory that is left is the container's own, where it or a group around it has a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.memory import available_bytes, memory_bytes
from tests.unit.cgroup_tree import cgroup_tree

MIB = 2**20


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: {64 * 1024} kB\nMemAvailable: {32 * 1024} kB\n")
    return path


def second(limit: int | str, used_mib: int, dropped_mib: int = 0) -> dict[str, str]:
    stat = f"anon 1\ninactive_file {dropped_mib * MIB}"
    return {"memory.max": str(limit), "memory.current": str(used_mib * MIB), "memory.stat": stat}


def first(limit: int, used_mib: int, dropped_mib: int = 0) -> dict[str, str]:
    stat = f"total_inactive_file {dropped_mib * MIB}"
    return {
        "memory.limit_in_bytes": str(limit),
        "memory.usage_in_bytes": str(used_mib * MIB),
        "memory.stat": stat,
    }


def test_without_a_limit_the_machine_s_own_counts(tmp_path: Path, meminfo: Path) -> None:
    proc = cgroup_tree(tmp_path, 2, "memory", {"/": second("max", 40)})
    assert available_bytes(proc, meminfo) == 32 * MIB
    assert memory_bytes(proc) > 64 * MIB


def test_a_limit_counts_less_what_is_used_and_cannot_be_dropped(tmp_path: Path, meminfo: Path) -> None:
    proc = cgroup_tree(tmp_path, 2, "memory", {"/": second(20 * MIB, 15, 3)})
    assert available_bytes(proc, meminfo) == 8 * MIB
    assert memory_bytes(proc) == 20 * MIB


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path, meminfo: Path) -> None:
    proc = cgroup_tree(tmp_path, 1, "memory", {"/": first(10 * MIB, 4, 1)})
    assert available_bytes(proc, meminfo) == 7 * MIB
    assert memory_bytes(proc) == 10 * MIB


@pytest.mark.parametrize(("version", "files"), [(1, first), (2, second)])
def test_the_narrowest_of_a_group_and_its_parents_counts(tmp_path: Path, meminfo: Path, version: int, files) -> None:
    tree = {"/": files(2**50, 30), "/kubepods": files(16 * MIB, 14), "/kubepods/pod1/c": files(2**40, 1)}
    proc = cgroup_tree(tmp_path, version, "memory", tree)
    assert memory_bytes(proc) == 16 * MIB
    assert available_bytes(proc, meminfo) == 2 * MIB


def test_the_limit_of_a_group_below_the_mount_s_top_is_the_process_s_own(tmp_path: Path, meminfo: Path) -> None:
    proc = cgroup_tree(tmp_path, 2, "memory", {"/": {}, "/system.slice/ock.service": second(12 * MIB, 2)})
    assert memory_bytes(proc) == 12 * MIB


def test_a_container_without_a_namespace_of_its_own_finds_its_group_at_the_mount(tmp_path: Path, meminfo: Path) -> None:
    proc = cgroup_tree(tmp_path, 1, "memory", {"/": first(9 * MIB, 2)})
    (proc / "cgroup").write_text("4:memory:/docker/abc\n")
    mounts = (proc / "mountinfo").read_text()
    (proc / "mountinfo").write_text(mounts.replace("0:32 / ", "0:32 /docker/abc "))
    assert memory_bytes(proc) == 9 * MIB


def test_more_used_than_allowed_leaves_nothing(tmp_path: Path, meminfo: Path) -> None:
    proc = cgroup_tree(tmp_path, 2, "memory", {"/": second(20 * MIB, 30)})
    assert available_bytes(proc, meminfo) == 0


def test_without_any_control_groups_the_machine_counts(tmp_path: Path, meminfo: Path) -> None:
    assert available_bytes(tmp_path / "nowhere", meminfo) == 32 * MIB
