"""Two runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.errors import DeployError

_COMPARED = ("requests_per_s", "new_tokens_per_s", "goodput_per_s", "first_ms.p50", "first_ms.p95", "between_ms.p50",
             "whole_ms.p50", "whole_ms.p95")  # fmt: skip


def compared(first: Path, second: Path) -> str:
    """A table of both and the first divided by the second, load by load.

    Raises:
        DeployError: a file is no result of `bench --workload`, or they have no load in common.
    """
    one, other = (_runs(path) for path in (first, second))
    loads = [load for load in one if load in other]
    if not loads:
        raise DeployError(f"{first} has the loads {', '.join(one)}, {second} has {', '.join(other)}; none is in both")
    lines = [f"{'':28}{first.stem[:20]:>22}{second.stem[:20]:>22}{'ratio':>10}"]
    for load in loads:
        lines.append(load)
        for name in _COMPARED:
            values = [_value(runs[load], name) for runs in (one, other)]
            lines.append(f"  {name:26}{_shown(values[0]):>22}{_shown(values[1]):>22}{_ratio(*values):>10}")
    return "\n".join(lines)


def _runs(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {run["load"]: run for run in json.loads(path.read_text("utf-8"))["runs"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{path}: not a result of `bench --workload`: {error!r}") from error


def _value(run: dict[str, Any], name: str) -> float | None:
    found: Any = run
    for part in name.split("."):
        found = (found or {}).get(part)
    return found


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _ratio(one: float | None, other: float | None) -> str:
    return f"{one / other:.3f}" if one is not None and other else "-"
