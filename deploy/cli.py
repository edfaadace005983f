"""What the verbs share: their common flags, the terminal, and where requests go."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.aws.api import Aws, DryRun, LiveAws
from deploy.endpoint.waiting import Waiter
from deploy.specification import endpoint_file
from deploy.specification.endpoint_file import EndpointFile


def add_file(parser: argparse.ArgumentParser) -> None:
    """--file and --profile."""
    parser.add_argument(
        "--file", type=Path, default=endpoint_file.DEFAULT_FILE, help="the endpoint file (default: %(default)s)"
    )
    parser.add_argument("--profile", help="the AWS profile to use (default: boto3's own choice)")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """--dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="print the requests as JSON lines, send nothing")


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """--poll-s."""
    parser.add_argument("--poll-s", type=float, default=15.0, help="seconds between two looks (default: %(default)s)")


def add_keep(parser: argparse.ArgumentParser) -> None:
    """--keep-on-failure."""
    parser.add_argument("--keep-on-failure", action="store_true", help="do not unmake what was made before a failure")


def load(arguments: argparse.Namespace) -> EndpointFile:
    """The endpoint file named by the arguments."""
    return endpoint_file.read(arguments.file)


def connect(arguments: argparse.Namespace, file: EndpointFile) -> Aws:
    """Where this command's requests go."""
    return DryRun(sys.stdout) if arguments.dry_run else LiveAws(file.region, arguments.profile)


def waiter(arguments: argparse.Namespace, aws: Aws) -> Waiter:
    """A waiter at the pace of --poll-s."""
    return Waiter(aws, say, poll_s=arguments.poll_s, grace_s=2 * arguments.poll_s)


def say(line: str) -> None:
    """One line for the person at the terminal; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def confirm(question: str) -> bool:
    """Whether the person at the terminal answers yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
