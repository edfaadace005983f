"""The limits that the container's control group sets, of either version; None where it sets none."""

from __future__ import annotations

import math
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores_limit(root: Path = CGROUP) -> int | None:
    """How many whole cores the processor quota gives, at least one."""
    quota, _, period = _first_line(root / "cpu.max").partition(" ")
    if not quota:  # version 1 has no such file
        quota, period = (_first_line(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    # No quota is "max" in version 2 and -1 in version 1.
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return max(1, math.floor(int(quota) / int(period)))


def memory_limit(root: Path = CGROUP) -> int | None:
    """Bytes of memory; in version 1 "none" is a number larger than any machine."""
    limit = _first_line(root / "memory.max") or _first_line(root / "memory" / "memory.limit_in_bytes")
    return int(limit) if limit.isdigit() else None


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""
