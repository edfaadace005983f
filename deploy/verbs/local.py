"""Run the image here exactly as the endpoint would, to find mistakes before paying: environment, mounts, stop."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from types import FrameType

from deploy import cli
from deploy.client import ChatClient, ChatError
from deploy.errors import DeployError
from deploy.image.container_tool import find_tool
from deploy.local.command import LocalOptions, local_url, run_command, startup_s
from deploy.local.container import LocalContainer
from deploy.specification.endpoint_file import Setting
from deploy.specification.environment import PORT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `local`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("--image", help="an image of this machine (default: the file's)")
    parser.add_argument("--tool", choices=("docker", "podman"), help="default: whichever works")
    parser.add_argument("--port", type=int, default=PORT, help="on this machine (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="in place of the file's")
    parser.add_argument("--memory", help="limit, as in 16g (default: the instance's)")
    parser.add_argument("--shm-size", help="as in 1g (default: the tool's 64 MB; SageMaker offers no choice)")
    parser.add_argument("--gpus", action=argparse.BooleanOptionalAction, help="default: as image.flavor says")
    parser.add_argument("--network", help="as the tool has it (default: the tool's)")
    parser.add_argument("--credentials", action="store_true", help="hand on AWS_ACCESS_KEY_ID and its like")
    parser.add_argument("--startup-s", type=float, help="patience with /ping (default: the endpoint's timeout)")
    parser.add_argument("--prompt", help="ask this once it serves, print the answer, stop")


def run(arguments: argparse.Namespace) -> int:
    """Runs until Ctrl-C, until the container ends, or, with --prompt, until it has answered."""
    file = cli.load(arguments)
    tool = find_tool(arguments.tool, sys.stdout if arguments.dry_run else None)
    name = f"{file.name}-local-{os.getpid()}"
    options = _options(arguments)
    command = run_command(tool.name, name, file, options=options)
    if arguments.dry_run:
        print(json.dumps({"command": command}))
        return 0
    url = local_url(options)
    container = LocalContainer(tool.name, name, command, url=url, say=cli.say)
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        return _serve(container, arguments.startup_s or startup_s(file), url, prompt=arguments.prompt)
    finally:
        signal.signal(signal.SIGTERM, before)


def _serve(container: LocalContainer, patience_s: float, url: str, prompt: str | None) -> int:
    container.start()
    try:
        seconds = container.wait_in_service(patience_s)
        cli.say(f"in service after {seconds:.1f} s at {url}; Ctrl-C stops it")
        if prompt is None:
            container.wait_ended()
        else:
            _ask(url, prompt)
    except KeyboardInterrupt:
        cli.say("stopping")
    finally:
        status = container.stop()
    return status


def _options(arguments: argparse.Namespace) -> LocalOptions:
    return LocalOptions(
        image=arguments.image,
        port=arguments.port,
        settings=tuple(_setting(given) for given in arguments.set),
        memory=arguments.memory,
        shm_size=arguments.shm_size,
        gpus=arguments.gpus,
        network=arguments.network,
        credentials=arguments.credentials,
    )


def _setting(given: str) -> tuple[str, Setting]:
    name, equals, value = given.partition("=")
    if not equals:
        raise DeployError(f"--set {given}: expected SETTING=VALUE")
    return name, value


def _ask(url: str, prompt: str) -> None:
    try:
        print(ChatClient(url).chat(prompt).text, flush=True)
    except ChatError as error:
        raise DeployError(str(error)) from error


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
