"""The control groups that this process is in, its own and all their parents, of both versions.

A limit of any of them holds. What a container sees of them is decided by its mounts and its namespace, so both are
read from /proc: the group's path, and where the mount that shows it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


@dataclass(frozen=True)
class _Mount:
    """One mounted hierarchy: `root` is the group that `folder` shows."""

    version: int
    controllers: frozenset[str]  # of version 1; version 2 has one hierarchy for all
    root: str
    folder: Path


def groups(controller: str, proc: Path = PROC) -> Iterator[tuple[int, Path]]:
    """Version and folder of each group that limits `controller` ("memory", "cpu"), the process's own first."""
    mounts = list(_mounts(proc))
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        for mount in mounts:
            if _shows(mount, controllers, controller):
                for folder in _upward(mount, path):
                    yield mount.version, folder


def _shows(mount: _Mount, controllers: str, wanted: str) -> bool:
    if not controllers:
        return mount.version == 2
    return mount.version == 1 and wanted in controllers.split(",") and wanted in mount.controllers


def _upward(mount: _Mount, path: str) -> Iterator[Path]:
    """From the group down the mount's own top; a path outside of what the mount shows leaves the top alone."""
    inside = path.removeprefix(mount.root.rstrip("/")) if path.startswith(mount.root.rstrip("/") + "/") else ""
    parts = [part for part in PurePosixPath(inside).parts if part != "/"]
    if ".." in parts:
        parts = []
    for depth in range(len(parts), -1, -1):
        yield mount.folder.joinpath(*parts[:depth])


def _mounts(proc: Path) -> Iterator[_Mount]:
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(" ", 2), "", ""][:3]
        fields = before.split(" ")
        if kind in ("cgroup", "cgroup2") and len(fields) > 4:
            root, folder = (_unescaped(field) for field in fields[3:5])
            yield _Mount(1 if kind == "cgroup" else 2, frozenset(options.split(",")), root, folder=Path(folder))


def _unescaped(field: str) -> str:
    """mountinfo writes blanks and backslashes in octal."""
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line]
    except OSError:
        return []
