"""What a person sees of a stage: a bar with rate and time left while it runs, time and memory when it has ended."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tqdm import tqdm


@dataclass(frozen=True)
class StageCost:
    """What a stage took; memory is the largest resident size so far of this process and of its children."""

    seconds: float
    peak_mib: float
    peak_children_mib: float


@dataclass
class Progress:
    """Bars on standard error, and the cost of every stage that ran."""

    quiet: bool = False
    costs: dict[str, StageCost] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str, done: int = 0) -> Iterator[tqdm]:
        """A bar for one stage, of which `done` units were finished by an earlier run."""
        started = time.monotonic()
        interval = 0.2 if sys.stderr.isatty() else 5.0
        scale = unit == "B"
        with tqdm(
            total=total, initial=done, unit=unit, desc=f"{name:<9}", disable=self.quiet, mininterval=interval,
            unit_scale=scale, unit_divisor=1024, file=sys.stderr, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            yield bar
        self.costs[name] = StageCost(
            seconds=round(time.monotonic() - started, 2),
            peak_mib=_peak_mib(resource.RUSAGE_SELF),
            peak_children_mib=_peak_mib(resource.RUSAGE_CHILDREN),
        )


def _peak_mib(who: int) -> float:
    return round(resource.getrusage(who).ru_maxrss / 1024, 1)
