"""How well the server's moderation blocks what it should, on your own texts.

The data is a file of JSON lines: {"text": ..., "label": ...} with the policy's labels, or {"text": ...,
"blocked": true or false}. Each text goes to POST /v1/moderations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deploy.client.http_transport import HttpTransport
from deploy.errors import DeployError
from deploy.measure.moderation_cases import judge, read_cases
from deploy.measure.moderation_report import ThresholdPoint, blocking, confusion, threshold_curve

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
    parser.add_argument("--threshold-plot", type=Path, metavar="OUT.png", help="draw precision and recall by threshold")


def run(arguments: argparse.Namespace) -> int:
    """Prints confusion matrix, precision, recall and a table of thresholds."""
    labels = arguments.block_label or [_DEFAULT_LABEL]
    cases = read_cases(arguments.data, labels)
    judged = judge(HttpTransport(arguments.url, _TIMEOUT_S, "/v1/moderations"), cases, arguments.role)
    print("\n".join(confusion(judged)))
    now = blocking(judged)
    print(f"\nblocking as the policy has it, {len(judged)} texts, role {arguments.role}")
    print(f"  precision {now.precision}\n  recall    {now.recall}")
    curve = threshold_curve(judged, labels)
    print(f"\nblocking by a threshold on the score of {' or '.join(labels)}")
    print("\n".join(_table(curve)))
    if arguments.threshold_plot:
        _draw(curve, f"Blocking by threshold: {', '.join(labels)} ({len(judged)} texts)", arguments.threshold_plot)
    return 0


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
    try:
        from deploy.measure.threshold_plot import draw  # matplotlib only where a picture is wanted
    except ImportError as error:
        raise DeployError(f"--threshold-plot needs matplotlib: pip install '.[deploy]' ({error})") from error
    draw(curve, title, path)
    print(f"\ndrew {path}")
