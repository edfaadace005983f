"""Make what an endpoint needs around it: its bucket and its roles, with no more rights than they use."""

from __future__ import annotations

import argparse
import json

from deploy import cli
from deploy.account import policies
from deploy.account.account import Account
from deploy.endpoint.plan import check_account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `prepare`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument(
        "--print-deployer-policy", action="store_true", help="print the rights these commands need themselves, and stop"
    )


def run(arguments: argparse.Namespace) -> int:
    """Makes what is missing; what is there keeps its data and gets its policies anew."""
    file = cli.load(arguments)
    if arguments.print_deployer_policy:
        print(json.dumps(json.loads(policies.deployer_policy(file)), indent=2))
        return 0
    aws = cli.connect(arguments, file)
    check_account(aws, file)
    Account(aws, file, cli.say).prepare()
    return 0
