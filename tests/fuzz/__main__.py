"""Nonsense for every reader of outside bytes, for as long as you like.

python -m tests.fuzz http --requests 50000 --seed 1     requests of the real front, in this process
python -m tests.fuzz mutate PARSER --seconds 60         changed files of the corpus; PARSER may be all
python -m tests.fuzz.guided PARSER --seconds 600        guided by coverage (the extra fuzz)

Status 1 when something was found; the bytes are then written to build/fuzz.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.fuzz.parsers import PARSERS, digest, fault, seeds
from tests.fuzz.requests import damaged

FINDINGS = ROOT / "build/fuzz"
SLOW_S = 5.0
_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> int:
    """Run what is asked for, and print its figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    http = verbs.add_parser("http")
    http.add_argument("--requests", type=int, default=50_000)
    http.add_argument("--seed", type=int, default=1)
    each = verbs.add_parser("mutate")
    each.add_argument("parser", choices=[*PARSERS, "all"])
    each.add_argument("--seconds", type=float, default=60)
    each.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = {"http": _http, "mutate": _mutate}[arguments.verb](arguments)
    print(json.dumps(found, indent=1))
    return 1 if found["faults"] else 0


def _http(arguments: argparse.Namespace) -> dict[str, Any]:
    from tests.fuzz.app import make_app
    from tests.fuzz.http import fuzz

    found = fuzz(
        make_app(), arguments.requests, arguments.seed, lambda words: print(words, file=sys.stderr, flush=True)
    )
    return {
        "requests": arguments.requests,
        "seconds": round(found.seconds, 1),
        "slowest_s": round(found.slowest_s, 2),
        "statuses": dict(sorted(found.statuses.items())),
        "faults": found.faults,
    }


def _mutate(arguments: argparse.Namespace) -> dict[str, Any]:
    names = list(PARSERS) if arguments.parser == "all" else [arguments.parser]
    figures = {name: mutate(name, arguments.seconds / len(names), random.Random(arguments.seed)) for name in names}
    return {"parsers": figures, "faults": [each for found in figures.values() for each in found["faults"]]}


def mutate(name: str, seconds: float, rng: random.Random, most: int = 10**9) -> dict[str, Any]:
    """Changed files of the corpus for so many seconds, or `most` of them."""
    faults: dict[str, str] = {}
    parser, corpus = PARSERS[name](), seeds(name)
    number, slowest_s, end = 0, 0.0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory(dir=_FAST) as folder:
        while time.monotonic() < end and number < most:
            content = damaged(rng.choice(corpus), rng)
            began = time.monotonic()
            error = fault(parser, content, Path(folder))
            took = time.monotonic() - began
            if error is not None or took > SLOW_S:
                faults.setdefault(type(error).__name__ + str(error)[:40], _kept(name, content, error, took))
            number, slowest_s = number + 1, max(slowest_s, took)
    return {"inputs": number, "slowest_s": round(slowest_s, 3), "faults": list(faults.values())}


def _kept(name: str, content: bytes, error: Exception | None, seconds: float) -> str:
    FINDINGS.mkdir(parents=True, exist_ok=True)
    path = FINDINGS / f"{name}-{digest(content)}"
    path.write_bytes(content)
    return f"{path}: {type(error).__name__}: {error} ({seconds:.1f} s)"


if __name__ == "__main__":
    sys.exit(main())
