"""How well the server's moderation blocks what it should, on your own texts.

The data is a file of JSON lines: {"text": ..., "label": ...} with the policy's labels, or {"text": ...,
"blocked": true or false}, each with a "kind" to count it by. Each text goes to POST /v1/moderations. With --variants,
bad texts are also disguised, and put among harmless ones (those of the kind "ordinary", or of none).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from deploy.client.http_transport import HttpTransport
from deploy.errors import DeployError
from deploy.measure.moderation_cases import Judged, judge, read_cases
from deploy.measure.moderation_report import ThresholdPoint, blocking, confusion, threshold_curve
from deploy.measure.moderation_variants import shares, should_block, with_variants

_TIMEOUT_S = 300.0
_SHOWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_DEFAULT_LABEL = "needs intervention"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `evaluate-moderation`."""
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with text and label or blocked")
    parser.add_argument("--url", required=True, help="the server, as in http://127.0.0.1:8080")
    parser.add_argument(
        "--role", choices=("input", "output"), default="input", help="whose text (default: %(default)s)"
    )
    parser.add_argument(
        "--block-label",
        action="append",
        metavar="LABEL",
        help=f"a label that ought to be blocked; may be repeated (default: {_DEFAULT_LABEL})",
    )
    parser.add_argument(
        "--variants",
        type=int,
        metavar="N",
        help="also judge N of the bad texts in every disguise and at every place among harmless ones",
    )
    parser.add_argument("--group-plot", type=Path, metavar="OUT.png", help="draw the share blocked of every group")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the share blocked of every group")
    parser.add_argument("--threshold-plot", type=Path, metavar="OUT.png", help="draw precision and recall by threshold")


def run(arguments: argparse.Namespace) -> int:
    """Prints confusion matrix, precision, recall and a table of thresholds."""
    labels = arguments.block_label or [_DEFAULT_LABEL]
    cases = read_cases(arguments.data, labels)
    asked = with_variants(cases, arguments.variants) if arguments.variants else cases
    all_judged = judge(HttpTransport(arguments.url, _TIMEOUT_S, "/v1/moderations"), asked, arguments.role)
    judged = all_judged[: len(cases)]
    print("\n".join(confusion(judged)))
    now = blocking(judged)
    print(f"\nblocking as the policy has it, {len(judged)} texts, role {arguments.role}")
    print(f"  precision {now.precision}\n  recall    {now.recall}")
    _report_groups(all_judged, arguments)
    curve = threshold_curve(judged, labels)
    print(f"\nblocking by a threshold on the score of {' or '.join(labels)}")
    print("\n".join(_table(curve)))
    if arguments.threshold_plot:
        _draw(curve, f"Blocking by threshold: {', '.join(labels)} ({len(judged)} texts)", arguments.threshold_plot)
    return 0


def _report_groups(judged: Sequence[Judged], arguments: argparse.Namespace) -> None:
    """By kind, disguise, place and length: how many of a group were blocked."""
    found = shares(judged)
    print("\nshare blocked by group")
    for name, share in found.items():
        print(f"  {name:<40} {share}")
    if arguments.json:
        rows = {name: {"blocked": s.hits, "texts": s.total, "interval": s.interval} for name, s in found.items()}
        arguments.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if arguments.group_plot:
        _plots().draw_shares(found, should_block(judged), f"Blocked of {len(judged)} texts", arguments.group_plot)
        print(f"\ndrew {arguments.group_plot}")


def _plots() -> ModuleType:
    try:
        from deploy.measure import moderation_plots  # matplotlib only where a picture is wanted
    except ImportError as error:
        raise DeployError(f"a plot needs matplotlib: pip install '.[deploy]' ({error})") from error
    return moderation_plots


def _table(curve: list[ThresholdPoint]) -> list[str]:
    """One line a shown threshold: the curve is a staircase, each step holds up to the next higher score."""
    lines = []
    for shown in _SHOWN:
        point = next((point for point in curve if point.threshold >= shown), None)
        if point is None:
            lines.append(f"  {shown:.1f}  nothing is blocked")
        else:
            found = point.blocking
            lines.append(f"  {shown:.1f}  precision {found.precision.value:.3f}  recall {found.recall.value:.3f}")
    return lines


def _draw(curve: list[ThresholdPoint], title: str, path: Path) -> None:
    _plots().draw(curve, title, path)
    print(f"\ndrew {path}")
