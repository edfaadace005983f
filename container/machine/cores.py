"""How many processor cores this container may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def num_cores(cgroup: Path = _CGROUP) -> int:
    """The cores that this process may run on, or fewer where the control group, of either version, has a quota."""
    cores, quota = len(os.sched_getaffinity(0)), _quota(cgroup)
    return cores if quota is None else max(1, min(cores, quota))


def _quota(cgroup: Path) -> int | None:
    quota, _, period = _first_line(cgroup / "cpu.max").partition(" ")
    if not quota:  # version 1 has no such file
        quota, period = (_first_line(cgroup / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    # Without a limit the quota is "max" in version 2 and -1 in version 1.
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) // int(period)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""
