"""Return a running endpoint to the configuration it had before; a second time goes forward again."""

from __future__ import annotations

import argparse

from deploy import cli
from deploy.endpoint.endpoint import Endpoint
from deploy.endpoint.plan import rollback_timeout_s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `rollback`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    cli.add_waiting(parser)
    parser.add_argument("--to", metavar="CONFIG", help="an endpoint configuration of your choice")


def run(arguments: argparse.Namespace) -> int:
    """Moves the endpoint to its earlier configuration."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    endpoint = Endpoint(aws, file, cli.waiter(arguments, aws), say=cli.say)
    target = endpoint.rollback(timeout_s=rollback_timeout_s(file), to=arguments.to)
    cli.say(f"{file.name} serves {target}")
    return 0
