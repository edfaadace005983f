"""Build the image and push it to ECR: `build` and `push` with docker or podman here, `build --codebuild` in AWS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy import cli
from deploy.aws.api import Aws
from deploy.errors import DeployError
from deploy.image import codebuild, ecr
from deploy.image.build import BUILDER, Recipe, build, build_args
from deploy.image.container_tool import ContainerTool, find_tool
from deploy.specification.endpoint_file import EndpointFile, builder_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `image`."""
    parser.add_argument("step", choices=("build", "push"), help="--codebuild builds and pushes in one step")
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("--builder", action="store_true", help="the image that `index` runs, in place of the server's")
    parser.add_argument("--codebuild", action="store_true", help="build in AWS CodeBuild; nothing is needed here")
    parser.add_argument("--tool", choices=("docker", "podman"), help="default: whichever is installed")
    parser.add_argument("--context", type=Path, default=Path(), help="the folder with the Dockerfile (default: here)")
    parser.add_argument("--image", help="push an image that has been built under this name")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--poll-s", type=float, default=10.0, help="seconds between two looks (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Builds or pushes the image that endpoint.toml names."""
    file = cli.load(arguments)
    if arguments.builder:
        file = builder_of(file)
    if file.image.uri:
        raise DeployError(f"image.uri={file.image.uri}: an image of another registry is neither built nor pushed here")
    aws = cli.connect(arguments, file)
    if arguments.codebuild:
        codebuild.build_in_aws(aws, file, _recipe(file, arguments), say=cli.say, poll_s=arguments.poll_s)
        return 0
    tool = find_tool(arguments.tool, sys.stdout if aws.dry else None)
    if arguments.step == "build":
        build(tool, _recipe(file, arguments), file.image_tag_uri)
        cli.say(f"built {file.image_tag_uri}")
    else:
        _push(aws, tool, file, image=arguments.image)
    return 0


def _push(aws: Aws, tool: ContainerTool, file: EndpointFile, image: str | None) -> None:
    ecr.ensure_repository(aws, file, cli.say)
    user, password = ecr.login(aws)
    if image:
        tool.run("tag", image, file.image_tag_uri)
    tool.run("login", "--username", user, "--password-stdin", file.registry, secret=password)
    try:
        tool.run("push", file.image_tag_uri)
    finally:
        tool.run("logout", file.registry)
    cli.say(f"pushed {file.image_tag_uri}")


def _recipe(file: EndpointFile, arguments: argparse.Namespace) -> Recipe:
    given = build_args(arguments.context, file.image.flavor, file.image.base_image, given=arguments.build_arg)
    return Recipe(arguments.context, given, BUILDER if arguments.builder else "")
