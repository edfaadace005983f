"""Make the endpoint that endpoint.toml describes and wait until it serves."""

from __future__ import annotations

import argparse

from deploy import cli
from deploy.endpoint.endpoint import Endpoint
from deploy.endpoint.plan import make_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `create`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    cli.add_waiting(parser)
    cli.add_keep(parser)


def run(arguments: argparse.Namespace) -> int:
    """Creates whatever of model, configuration, endpoint and autoscaling is missing."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    plan = make_plan(aws, file, cli.say)
    endpoint = Endpoint(aws, file, cli.waiter(arguments, aws), say=cli.say)
    endpoint.create(plan, undo=not arguments.keep_on_failure)
    cli.say(f"{file.name} serves; try: python -m deploy invoke --file {arguments.file} 'Hello!'")
    return 0
