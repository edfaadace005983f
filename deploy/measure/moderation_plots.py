"""What was measured of blocking as pictures: by threshold, and by group of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.measure.moderation_report import Share, ThresholdPoint

_PRECISION, _RECALL = "#1f6fb4", "#c2571a"


def draw(curve: Sequence[ThresholdPoint], title: str, path: Path) -> None:
    """Precision and recall against the threshold, with their 95 % intervals, as a PNG at `path`."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    thresholds = [point.threshold for point in curve]
    lines = (
        ("precision", _PRECISION, [point.blocking.precision for point in curve]),
        ("recall", _RECALL, [point.blocking.recall for point in curve]),
    )
    for name, colour, shares in lines:
        _band(axes, thresholds, shares, colour=colour)
        axes.plot(thresholds, [share.value for share in shares], color=colour, label=name, drawstyle="steps-pre")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="blocked at a score of at least", ylabel="share", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=120, format="png")


def draw_shares(shares: Mapping[str, Share], should_block: Mapping[str, bool], title: str, path: Path) -> None:
    """The share blocked of each group with its 95 % interval, as a PNG at `path`; the first group at the top."""
    figure = Figure(figsize=(8, 1.5 + 0.28 * len(shares)), layout="constrained")
    axes = figure.subplots()
    for place, (name, share) in enumerate(shares.items()):
        low, high = share.interval
        colour = _RECALL if should_block[name] else _PRECISION
        axes.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.35)
        axes.plot([share.value], [place], "o", color=colour)
    axes.set(xlim=(-0.02, 1.02), xlabel="share blocked, with 95 % interval", title=title)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")


def _band(axes: Axes, thresholds: list[float], shares: list[Share], colour: str) -> None:
    low, high = zip(*(share.interval for share in shares), strict=True)
    axes.fill_between(thresholds, low, high, color=colour, alpha=0.15, step="pre", linewidth=0)
