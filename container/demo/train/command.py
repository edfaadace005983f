"""Command-line arguments that both training commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add what bounds a run, where it writes and what it reads; `name` is the model's folder."""
    parser.add_argument("--out", type=Path, default=Path("container/demo") / name, help="checkpoint folder to write")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".cache/demo") / f"{name}-run",
        help="folder of the run's state; a run that was killed goes on from it, a finished one only saves again",
    )
    parser.add_argument(
        "--articles", type=Path, default=Path(".cache/demo/articles.json"), help="parsed articles, kept"
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="training time, all parts of a resumed run together")
    length.add_argument("--steps", type=int, help="optimizer steps, all parts of a resumed run together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
