"""How many processor cores this container may use."""

from __future__ import annotations

import os
from pathlib import Path

from server.cgroups import PROC, groups


def num_cores(proc: Path = PROC) -> int:
    """The cores that this process may run on, or fewer where a control group that it is in has a quota."""
    quotas = [quota for version, folder in groups("cpu", proc) if (quota := _quota(version, folder)) is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def _quota(version: int, folder: Path) -> int | None:
    """Whole cores; None without a limit: the quota is "max" in version 2 then, and -1 in version 1."""
    if version == 2:
        quota, _, period = _first_line(folder / "cpu.max").partition(" ")
    else:
        quota, period = (_first_line(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) // int(period)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""
