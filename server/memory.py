"""How much memory this container may still take: the machine's, or less where a control group limits it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from server.cgroups import PROC, groups

_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class _Names:
    """The files of one version of control groups."""

    limit: str
    used: str
    stat: str
    reclaimable: str  # in `stat`: cached pages that the kernel drops before it refuses memory


_NAMES = {
    1: _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", reclaimable="total_inactive_file"),
    2: _Names("memory.max", "memory.current", "memory.stat", reclaimable="inactive_file"),
}


def memory_bytes(proc: Path = PROC) -> int:
    """All the memory that this container may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_number(folder / _NAMES[version].limit) for version, folder in groups("memory", proc))
    return min([total, *(limit for limit in limits if limit is not None)])


def available_bytes(proc: Path = PROC, meminfo: Path = _MEMINFO) -> int:
    """What may still be taken, page cache that the kernel can drop included."""
    found = [_available_of_machine(meminfo)]
    for version, folder in groups("memory", proc):
        names = _NAMES[version]
        limit, used = _number(folder / names.limit), _number(folder / names.used)
        if limit is not None and used is not None:
            cached = _named(folder / names.stat, names.reclaimable) or 0
            found.append(max(0, limit - used + cached))
    return min(found)


def _available_of_machine(meminfo: Path) -> int:
    kibibytes = _named(meminfo, "MemAvailable:")
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if kibibytes is None else kibibytes * 1024


def _number(path: Path) -> int | None:
    """The whole number that is all of a file; None for "max", or without the file."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _named(path: Path, name: str) -> int | None:
    """The number after `name` at the start of a line."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
