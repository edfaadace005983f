"""Build the index of endpoint.toml in AWS: a SageMaker Processing job from documents in S3 to artifacts.index."""

from __future__ import annotations

import argparse

from deploy import cli
from deploy.endpoint.index_job import plan_job, run_job


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `index`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    cli.add_waiting(parser)


def run(arguments: argparse.Namespace) -> int:
    """Starts the job, waits for it and says where the version lies."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    call = plan_job(aws, file, cli.say)
    version = run_job(aws, file, call, say=cli.say, poll_s=arguments.poll_s)
    if version:
        cli.say(f"{version} is ready; `update` brings the endpoint to it")
    return 0
