"""The verbs of the image: serve, check, plan, bench, key, version."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from container.defaults import Places
from container.machine.plan_command import add_plan_arguments, run_plan
from container.start import check, serve
from container.supervision.commands import ROOT
from container.version import version_lines

_PROGRAMS = {"bench": "server.engine.bench", "key": "server.web.keys"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the process's exit status. Without a verb it serves."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] and argv[0] in _PROGRAMS:  # whose options are their own
        return _run(_PROGRAMS[argv[0]], argv[1:])
    arguments = verb_parser().parse_args(argv)
    return int(arguments.run(arguments))


def verb_parser() -> argparse.ArgumentParser:
    """The verbs of the entry point, but for those with options of their own."""
    parser = argparse.ArgumentParser(prog="openchatkit", description="A moderated, sourced, remembering chatbot.")
    parser.set_defaults(run=_serve)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    verbs.add_parser("serve", help="serve on OCK_PORT (the default)").set_defaults(run=_serve)
    verbs.add_parser("check", help="do all that serve does before it starts anything").set_defaults(run=_check)
    plan = verbs.add_parser("plan", help="work out the memory from the models' configs alone")
    plan.set_defaults(run=lambda arguments: run_plan(arguments, os.environ, Places()))
    add_plan_arguments(plan)
    verbs.add_parser("bench", help="measure the engine; `bench --help` lists its options")
    verbs.add_parser("key", help="make an API key; `key --help` lists its options")
    verbs.add_parser("version", help="print the versions of the parts").set_defaults(run=_version)
    return parser


def _serve(_: argparse.Namespace) -> int:
    return serve(os.environ, Places())


def _check(_: argparse.Namespace) -> int:
    return check(os.environ, Places())


def _run(module: str, options: Sequence[str]) -> int:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    os.execve(sys.executable, [sys.executable, "-m", module, *options], environ)  # noqa: S606


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write("\n".join(version_lines()) + "\n")
    return 0
