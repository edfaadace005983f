"""Bytes for one parser, guided by the coverage of our own code: `python -m tests.fuzz.guided PARSER --seconds 600`.

Needs the extra fuzz: atheris, libFuzzer for Python. It ends the process itself: with status 0 when the time is
over, else with the input in build/fuzz.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris

from tests import ROOT
from tests.fuzz.parsers import CORPUS, PARSERS, fault

OWN = ["server", "container", "deploy", "index_builder", "json", "tomllib", "gguf"]

FINDINGS = ROOT / "build/fuzz"


def main() -> None:
    """Fuzz until the time is over or something is found."""
    arguments_of = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    arguments_of.add_argument("parser", choices=list(PARSERS))
    arguments_of.add_argument("--seconds", type=int, default=600)
    arguments_of.add_argument("--seed", type=int, default=1)
    arguments = arguments_of.parse_args()
    logging.disable(logging.CRITICAL)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    with atheris.instrument_imports(include=OWN):
        parser = PARSERS[arguments.parser]()

    def one(content: bytes) -> None:
        error = fault(parser, content, folder)
        if error is not None:
            raise error

    flags = [f"-max_total_time={arguments.seconds}", f"-seed={arguments.seed}", "-timeout=20", "-rss_limit_mb=4096"]
    places = [f"-artifact_prefix={FINDINGS}/{arguments.parser}-", "-max_len=16384", tempfile.mkdtemp()]
    atheris.Setup([sys.argv[0], *flags, *places, str(CORPUS / arguments.parser)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
