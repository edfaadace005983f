"""Build the image and push it to ECR: `build` and `push` with docker or podman here, `build --codebuild` in AWS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy import cli
from deploy.account.aws import Aws
from deploy.endpoint.endpoint_file import EndpointFile
from deploy.errors import DeployError
from deploy.image import codebuild, ecr
from deploy.image.container_tool import ContainerTool, find_tool
from deploy.image.sources import revision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `image`."""
    parser.add_argument("step", choices=("build", "push"), help="--codebuild builds and pushes in one step")
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("--codebuild", action="store_true", help="build in AWS CodeBuild; nothing is needed here")
    parser.add_argument("--tool", choices=("docker", "podman"), help="default: whichever is installed")
    parser.add_argument("--context", type=Path, default=Path(), help="the folder with the Dockerfile (default: here)")
    parser.add_argument("--image", help="push an image that has been built under this name")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--poll-s", type=float, default=10.0, help="seconds between two looks (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Builds or pushes the image that endpoint.toml names."""
    file = cli.load(arguments)
    if file.image.uri:
        raise DeployError(f"image.uri={file.image.uri}: an image of another registry is neither built nor pushed here")
    aws = cli.connect(arguments, file)
    build_args = _build_args(file, arguments.build_arg, arguments.context)
    if arguments.codebuild:
        _check_context(arguments.context)
        codebuild.build_in_aws(aws, file, arguments.context, build_args, cli.say, arguments.poll_s)
        return 0
    tool = find_tool(arguments.tool, sys.stdout if aws.dry else None)
    if arguments.step == "build":
        _check_context(arguments.context)
        _build(tool, file, arguments.context, build_args)
    else:
        _push(aws, tool, file, arguments.image)
    return 0


def _build(tool: ContainerTool, file: EndpointFile, context: Path, build_args: dict[str, str]) -> None:
    given = [part for name, value in build_args.items() for part in ("--build-arg", f"{name}={value}")]
    tool.run("build", *tool.build_flags(), *given, "--tag", file.image_tag_uri, str(context))
    cli.say(f"built {file.image_tag_uri}")


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


def _build_args(file: EndpointFile, given: list[str], context: Path) -> dict[str, str]:
    build_args: dict[str, str] = {"FLAVOR": file.image.flavor}
    commit = revision(context)
    if commit:
        build_args["REVISION"] = commit
    if file.image.base_image:
        build_args["BASE_IMAGE"] = file.image.base_image
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals:
            raise DeployError(f"--build-arg {argument}: expected NAME=VALUE")
        build_args[name] = value
    return build_args


def _check_context(context: Path) -> None:
    if not (context / "Dockerfile").is_file():
        raise DeployError(f"--context {context}: there is no Dockerfile in it")
