"""Make what an endpoint needs around it: its bucket and its roles, with no more rights than they use."""

from __future__ import annotations

import argparse
import json

from deploy import cli
from deploy.account import policies
from deploy.account.account import Account
from deploy.endpoint.plan import check_account

_PRINTED = {
    "deployer": "the rights that all commands need but making and removing roles",
    "preparer": "the rights that this command and delete --everything need besides, an administrator's",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `prepare`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    for policy, what in _PRINTED.items():
        parser.add_argument(f"--print-{policy}-policy", action="store_true", help=f"print {what}, and stop")


def run(arguments: argparse.Namespace) -> int:
    """Makes what is missing; what is there keeps its data and gets its policies anew."""
    file = cli.load(arguments)
    for policy in _PRINTED:
        if getattr(arguments, f"print_{policy}_policy"):
            print(json.dumps(json.loads(getattr(policies, f"{policy}_policy")(file)), indent=2))
            return 0
    aws = cli.connect(arguments, file)
    check_account(aws, file)
    Account(aws, file, cli.say).prepare()
    return 0
