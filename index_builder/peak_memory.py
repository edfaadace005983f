"""How much memory this process has held at most, since the system was last asked to forget it."""

from __future__ import annotations

import resource
from pathlib import Path

_FORGET_PEAK = "5"  # proc(5): resets the "high water mark"


def peak_mib() -> float:
    """The largest resident size since `forget_peak`, or since the process began where that does not work."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)


def children_peak_mib() -> float:
    """The largest resident size of any child that has ended; the system forgets none."""
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1)


def forget_peak() -> bool:
    """Let `peak_mib` begin anew; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True
