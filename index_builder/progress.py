"""What a person sees of a stage: a bar with rate and time left while it runs, time and memory when it has ended."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

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


def resident_mib() -> float:
    """The resident size of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def forget_peak() -> bool:
    """Let `peak_mib` begin anew; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class StageCost:
    """What a stage took.

    Attributes:
        peak_mib: the largest resident size of this process during the stage.
        peak_children_mib: the largest of any child that has ended so far.
    """

    seconds: float
    peak_mib: float
    peak_children_mib: float


@dataclass
class Progress:
    """Bars on standard error, and the cost of every stage that ran. Stages follow one another, none holds another.

    Attributes:
        peak_mib: the largest resident size of this process up to the end of the last stage, between stages too.
    """

    quiet: bool = False
    costs: dict[str, StageCost] = field(default_factory=dict)
    peak_mib: float = 0.0

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str, done: int = 0) -> Iterator[tqdm]:
        """A bar for one stage, of which `done` units were finished by an earlier run."""
        self.peak_mib = max(self.peak_mib, peak_mib())
        forget_peak()
        started = time.monotonic()
        interval = 0.2 if sys.stderr.isatty() else 5.0
        scale = unit == "B"
        with tqdm(
            total=total, initial=done, unit=unit, desc=f"{name:<9}", disable=self.quiet, mininterval=interval,
            unit_scale=scale, unit_divisor=1024, file=sys.stderr, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            yield bar
        seconds = round(time.monotonic() - started, 2)
        self.costs[name] = StageCost(seconds, peak_mib(), children_peak_mib())
        self.peak_mib = max(self.peak_mib, self.costs[name].peak_mib)
