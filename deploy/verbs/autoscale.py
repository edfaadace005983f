"""Set the endpoint's autoscaling to what endpoint.toml says, or take it away."""

from __future__ import annotations

import argparse

from deploy import cli
from deploy.endpoint.autoscaling import Autoscaler
from deploy.errors import DeployError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `autoscale`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    cli.add_waiting(parser)
    parser.add_argument("--off", action="store_true", help="take autoscaling away, keep the instances there are")


def run(arguments: argparse.Namespace) -> int:
    """Registers the target and puts the policy, or deregisters."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    autoscaler = Autoscaler(aws, file, cli.say)
    if arguments.off:
        autoscaler.unscale()
    elif file.autoscaling is None:
        raise DeployError(f"{arguments.file}: there is no [autoscaling] table; add one or use --off")
    else:
        autoscaler.scale()
    return 0
