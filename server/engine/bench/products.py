"""python -m server.engine.bench.products: what products take in each kind of weights, on one thread.

In processor time of that thread, so that it can be measured on a machine that does something else besides.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from server.dtypes import WeightKind
from server.engine.cpu.native_library import open_library
from server.engine.parallel.processor import Level, processor_level
from server.machine import machine_facts

_ROWS = (1, 2, 4, 8, 16, 32, 128)


def measure(level: Level, rounds: int) -> dict[str, dict[int, float]]:
    """Microseconds by kind and number of rows; the kinds in turns, the best of some rounds each."""
    library = open_library(level)
    best = {kind: dict.fromkeys(_ROWS, float("inf")) for kind in WeightKind}
    for _ in range(rounds):
        for rows in _ROWS:
            for kind, found in best.items():
                found[rows] = min(found[rows], library.product_seconds(kind, level, rows, 2) * 1e6)
    return {kind.name.lower(): found for kind, found in best.items()}


def main() -> int:
    """Print a table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m server.engine.bench.products", description=__doc__)
    parser.add_argument("--level", choices=[each.name.lower() for each in Level if each], help="of vectors, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    level = min(Level[arguments.level.upper()] if arguments.level else Level.AMX, processor_level())
    report: dict[str, Any] = {
        "microseconds": measure(level, arguments.rounds),
        "level": level.name.lower(),
        "machine": machine_facts(),
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(sys.orig_argv),
    }
    print(as_table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return 0


def as_table(report: dict[str, Any]) -> str:
    """Microseconds, and in brackets how many times as quick as plain weights."""
    times = {kind: {int(rows): us for rows, us in found.items()} for kind, found in report["microseconds"].items()}
    lines = ["| rows | " + " | ".join(times) + " |", "|---" * (len(times) + 1) + "|"]
    for rows, plain in times["plain"].items():
        cells = (f"{found[rows]:.0f} ({plain / found[rows]:.2f})" for found in times.values())
        lines.append(f"| {rows} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
