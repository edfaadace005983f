"""Write the endpoint, its role, bucket and autoscaling as main.tf.json, for those who keep their cloud in Terraform."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from deploy import cli
from deploy.account.terraform import configuration
from deploy.endpoint.plan import make_plan
from deploy.errors import DeployError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `terraform`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("--out", type=Path, default=Path("main.tf.json"), help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Looks up image, sizes and index as `create` does, and writes the file instead of making anything."""
    file = cli.load(arguments)
    if file.inference_component:
        raise DeployError("inference_component: Terraform's hashicorp/aws provider has no such resource; use create")
    plan = make_plan(cli.connect(arguments, file), file, cli.say)
    text = json.dumps(configuration(file, plan), indent=2) + "\n"
    if arguments.dry_run:
        print(text, end="")
        return 0
    arguments.out.write_text(text, "utf-8")
    cli.say(f"wrote {arguments.out}; [metrics] has no attribute in the provider and is left out")
    return 0
