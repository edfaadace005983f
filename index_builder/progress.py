"""What a person sees of a stage: a bar with rate and time left while it runs, time and memory when it has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tqdm import tqdm

from index_builder.peak_memory import children_peak_mib, forget_peak, peak_mib


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
