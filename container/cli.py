"""The verbs of the image: serve, check, plan, bench, version."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from container.defaults import Places
from container.start import serve
from container.version import version_lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the process's exit status. Without a verb it serves."""
    arguments = _parser().parse_args(argv)
    return int(arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openchatkit", description="A moderated, sourced, remembering chatbot.")
    parser.set_defaults(run=_serve)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    verbs.add_parser("serve", help="serve on OCK_PORT (the default)").set_defaults(run=_serve)
    verbs.add_parser("version", help="print the versions of the parts").set_defaults(run=_version)
    return parser


def _serve(_: argparse.Namespace) -> int:
    return serve(os.environ, Places())


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write("\n".join(version_lines()) + "\n")
    return 0
