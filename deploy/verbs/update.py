"""Bring a running endpoint to what endpoint.toml says now, blue/green, without losing a request."""

from __future__ import annotations

import argparse

from deploy import cli
from deploy.endpoint.endpoint import Endpoint
from deploy.endpoint.plan import make_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `update`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    cli.add_waiting(parser)
    cli.add_keep(parser)


def run(arguments: argparse.Namespace) -> int:
    """Makes a new configuration and moves the endpoint to it."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    plan = make_plan(aws, file, cli.say)
    endpoint = Endpoint(aws, file, cli.waiter(arguments, aws), say=cli.say)
    endpoint.update(plan, undo=not arguments.keep_on_failure)
    return 0
