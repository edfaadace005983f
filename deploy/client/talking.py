"""What `invoke` and `chat` share: whom to talk to, and with which parameters."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from deploy.aws.api import Call, LiveAws
from deploy.client import ChatClient, Reply
from deploy.client.sagemaker_transport import SageMakerTransport
from deploy.errors import DeployError
from deploy.specification import endpoint_file
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import component_name

_NO_ANSWER = {"outputs": "", "session_id": "", "finish_reason": "stop"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--url, --file, --session-id, --parameter and --dry-run."""
    parser.add_argument("--url", help="a server by its address, in place of the endpoint of --file")
    parser.add_argument(
        "--file", type=Path, default=endpoint_file.DEFAULT_FILE, help="the endpoint file (default: %(default)s)"
    )
    parser.add_argument("--profile", help="the AWS profile to use (default: boto3's own choice)")
    parser.add_argument("--session-id", help="go on with this conversation")
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of POST /invocations, its value as JSON: temperature=0.7; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the requests as JSON lines, send nothing")


def client(arguments: argparse.Namespace) -> ChatClient:
    """The client for the server that the arguments name."""
    if arguments.url:
        if arguments.dry_run:
            return ChatClient(transport=PrintedPosts(arguments.url, sys.stdout))
        return ChatClient(arguments.url)
    file = endpoint_file.read(arguments.file)
    if arguments.dry_run:
        return ChatClient(transport=PrintedCalls(file, sys.stdout))
    runtime = LiveAws(file.region, arguments.profile).client("sagemaker-runtime")
    return ChatClient(transport=SageMakerTransport(runtime, file.name, _component(file)))


def _component(file: EndpointFile) -> str | None:
    return component_name(file) if file.inference_component else None


def parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters given. Raises DeployError for one that is not NAME=JSON."""
    given = {}
    for argument in arguments.parameter:
        name, _, value = argument.partition("=")
        try:
            given[name] = json.loads(value)
        except ValueError as error:
            raise DeployError(f"--parameter {argument}: expected NAME=VALUE, the value as JSON") from error
    return given


def footnotes(reply: Reply) -> Iterator[str]:
    """What stands below a reply: its sources, and why it ended when not by itself."""
    for number, source in enumerate(reply.sources, 1):
        yield f"  [{number}] {source.title} ({source.score:.2f}) {source.url}".rstrip()
    if reply.finish_reason != "stop":
        yield f"  ({reply.finish_reason})"


class PrintedPosts:
    """A transport that prints each HTTP request and answers with nothing."""

    def __init__(self, url: str, out: TextIO) -> None:
        self._url = url
        self._out = out

    def post(self, body: bytes) -> bytes:
        """Prints the request."""
        request = {"method": "POST", "url": f"{self._url.rstrip('/')}/invocations", "body": json.loads(body)}
        print(json.dumps(request), file=self._out)
        return json.dumps(_NO_ANSWER).encode()

    @contextmanager
    def stream(self, body: bytes) -> Iterator[Iterator[bytes]]:
        """Prints the request."""
        yield iter([self.post(body)])


class PrintedCalls:
    """A transport that prints each request to SageMaker's runtime and answers with nothing."""

    def __init__(self, file: EndpointFile, out: TextIO) -> None:
        self._file = file
        self._out = out

    def post(self, body: bytes) -> bytes:
        """Prints the request."""
        return self._print("InvokeEndpoint", "application/json", body)

    @contextmanager
    def stream(self, body: bytes) -> Iterator[Iterator[bytes]]:
        """Prints the request."""
        yield iter([self._print("InvokeEndpointWithResponseStream", "application/jsonlines", body)])

    def _print(self, operation: str, accept: str, body: bytes) -> bytes:
        component = _component(self._file)
        parameters = {
            "EndpointName": self._file.name,
            **({"InferenceComponentName": component} if component else {}),
            "ContentType": "application/json",
            "Accept": accept,
            "Body": body.decode(),
        }
        call = Call("sagemaker-runtime", operation, parameters)
        call.check()
        line = {"service": call.service, "operation": call.operation, "parameters": call.parameters}
        print(json.dumps(line), file=self._out)
        return json.dumps(_NO_ANSWER).encode()
