"""A run as one HTML file without scripts, its plots drawn as SVG, and as PNG files."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _MARGIN = 560, 220, 44
_COLOURS = ("#2f5d50", "#b5651d", "#3b6ea5", "#8a3b5c")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; color: #22282a; }
table { border-collapse: collapse; } td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } figure { display: inline-block; margin: .6rem; }
svg { background: #faf8f4; border-radius: .5rem; } pre { background: #faf8f4; padding: .8rem; overflow-x: auto; }
"""

Series = tuple[str, Sequence[float]]  # a name and values


def html_report(result: dict[str, Any], samples: dict[str, list[Series]]) -> str:
    """The page: figures, the distribution of each of `samples`, and the whole JSON."""
    figures = "".join(
        f"<figure><figcaption>{html.escape(title)}</figcaption>{_distribution(lines)}</figure>"
        for title, lines in samples.items()
    )
    whole = html.escape(json.dumps(result, indent=1))
    rows = "".join(_row(run) for run in result["runs"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>deploy bench</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(result['target'])}, {html.escape(result['workload'])}</h1>"
        "<table><tr><th>load<th>requests<th>errors<th>requests/s<th>tokens/s<th>goodput/s<th>first p50<th>first p95"
        f"<th>between p50<th>whole p50<th>whole p95</tr>{rows}</table>"
        f"<h2>Shares of requests that took no longer</h2>{figures}<h2>All of it</h2><pre>{whole}</pre></html>"
    )


def write_pngs(folder: Path, samples: dict[str, list[Series]]) -> list[Path]:
    """One PNG a plot, by matplotlib (the extra "deploy")."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for title, lines in samples.items():
        figure, axes = pyplot.subplots(figsize=(6, 3.2), dpi=150)
        for name, values in lines:
            axes.plot(sorted(values), _shares(values), label=name)
        axes.set(title=title, xlabel="ms", ylabel="share of requests", ylim=(0, 1))
        axes.legend()
        figure.tight_layout()
        written.append(folder / f"{title.split(',')[0].replace(' ', '_')}.png")
        figure.savefig(written[-1])
        pyplot.close(figure)
    return written


def _row(run: dict[str, Any]) -> str:
    first, between, whole = (run.get(name) or {} for name in ("first_ms", "between_ms", "whole_ms"))
    cells = [
        run["load"], run["requests"], sum(run["errors"].values()), f"{run['requests_per_s']:.2f}",
        f"{run['new_tokens_per_s']:.1f}", f"{run['goodput_per_s']:.2f}",
        *(f"{value:.0f} ms" if value is not None else "" for value in (
            first.get("p50"), first.get("p95"), between.get("p50"), whole.get("p50"), whole.get("p95"))),
    ]  # fmt: skip
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells)


def _distribution(lines: list[Series]) -> str:
    """The shares of values up to each value, a line a series."""
    most = max((max(values) for _, values in lines if values), default=1.0) or 1.0
    drawn = "".join(
        _line(_COLOURS[index % 4], name, index, values=values, most=most) for index, (name, values) in enumerate(lines)
    )
    axis = (
        f'<path d="M{_MARGIN},8V{_HEIGHT - 28}H{_WIDTH - 8}" fill="none" stroke="#667072"/>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 10}" font-size="12" text-anchor="end">{most:.0f} ms</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 10}" font-size="12">0</text><text x="8" y="18" font-size="12">100 %</text>'
    )
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">{axis}{drawn}</svg>'


def _line(colour: str, name: str, index: int, values: Sequence[float], most: float) -> str:
    width, height = _WIDTH - _MARGIN - 8, _HEIGHT - 36
    points = " ".join(
        f"{_MARGIN + width * value / most:.1f},{8 + height * (1 - share):.1f}"
        for value, share in zip(sorted(values), _shares(values), strict=True)
    )
    label = f'<text x="{_MARGIN + 10}" y="{28 + 16 * index}" fill="{colour}" font-size="12">{html.escape(name)}</text>'
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>{label}'


def _shares(values: Sequence[float]) -> list[float]:
    return [(index + 1) / len(values) for index in range(len(values))]
