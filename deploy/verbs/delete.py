"""Take the endpoint away: with --everything also the table, the image, the uploads and the logs. Each is confirmed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from deploy import cli
from deploy.account.account import Account
from deploy.account.removal import Remains, Removal, Remover
from deploy.endpoint.endpoint import Endpoint
from deploy.errors import DeployError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `delete`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    cli.add_waiting(parser)
    parser.add_argument("--everything", action="store_true", help="also conversations, image, artifacts, builds, logs")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Removes what is confirmed; 1 when something that exists is still there at the end."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    endpoint = Endpoint(aws, file, cli.waiter(arguments, aws), say=cli.say)
    remover = Remover(aws, file, endpoint, account=Account(aws, file, cli.say))
    ask = not (arguments.yes or aws.dry)
    left = _remove(remover.endpoint_parts(), ask)
    if arguments.everything:
        left += _remove(remover.surroundings(), ask)
    for what in left:
        cli.say(f"still there: {what}")
    if not left:
        cli.say(f"nothing of {file.name} is left" if arguments.everything else f"{file.name} costs nothing any more")
    return 1 if left else 0


def _remove(found: Iterable[Removal | Remains], ask: bool) -> list[str]:
    left = []
    for removal in found:
        if isinstance(removal, Remains):
            left.append(removal.what)
            continue
        if ask and not cli.confirm(f"delete {removal.what}?"):
            left.append(removal.what)
            continue
        try:
            removal.remove()
        except DeployError as error:
            left.append(f"{removal.what} ({error})")
        else:
            cli.say(f"deleted {removal.what}")
    return left
