"""Show what the endpoint's containers log, from CloudWatch."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from deploy import cli
from deploy.aws.api import Aws, Call
from deploy.specification.names import log_group

_FOLLOW_EVERY_S = 3.0
_LATE_MS = 60_000  # how far behind its own time an event may arrive in CloudWatch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `logs`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("--minutes", type=float, default=30.0, help="how far back (default: %(default)s)")
    parser.add_argument("--filter", default="", help="a CloudWatch filter pattern, for example ERROR")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Prints the events, oldest first."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    since_ms = int((time.time() - 60 * arguments.minutes) * 1000)
    seen: set[str] = set()
    while True:
        for event in new_events(aws, file.name, since_ms, pattern=arguments.filter, seen=seen):
            print(_line(event), flush=True)
            since_ms = max(since_ms, int(event["timestamp"]) - _LATE_MS)
        if not arguments.follow or aws.dry:
            return 0
        time.sleep(_FOLLOW_EVERY_S)


def new_events(aws: Aws, name: str, since_ms: int, pattern: str, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Events of endpoint `name` since `since_ms` that are not in `seen`, which is added to."""
    parameters: dict[str, Any] = {"logGroupName": log_group(name), "startTime": since_ms}
    if pattern:
        parameters["filterPattern"] = pattern
    for event in aws.pages(Call("logs", "FilterLogEvents", parameters), "events"):
        if event["eventId"] not in seen:
            seen.add(event["eventId"])
            yield event


def _line(event: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).strftime("%H:%M:%S")
    instance = str(event.get("logStreamName", "")).rpartition("/")[2]
    return f"{when} {instance} {str(event['message']).rstrip()}"
