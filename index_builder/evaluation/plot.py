"""Recall against latency as a picture."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from index_builder.evaluation.sweep import OperatingPoint


def draw(points: list[OperatingPoint], chosen: OperatingPoint, floor: float, path: Path) -> None:
    """recall@10 over the median latency of a query, one line a number of candidates, as a PNG at `path`."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(points, key=lambda point: (point.num_candidates, point.breadth))
    for num_candidates, group in groupby(ordered, key=lambda point: point.num_candidates):
        line = list(group)
        axes.plot(
            [point.p50_ms for point in line],
            [point.recall_at_10 for point in line],
            marker="o",
            markersize=3,
            label=f"{num_candidates} candidates" if num_candidates else "exact",
        )
    axes.plot([chosen.p50_ms], [chosen.recall_at_10], marker="*", markersize=14, color="black", linestyle="none")
    axes.axhline(floor, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="median latency of a query, one thread (ms)", ylabel="recall@10", xscale="log")
    axes.set_title(f"chosen (star): breadth {chosen.breadth}, {chosen.num_candidates} candidates; dashed: the floor")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120, format="png")
