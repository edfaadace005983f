"""Every AWS request of deploy passes here: checked against botocore's models, then sent, or printed by a dry run.

`AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` are honoured (by boto3), so the same code talks to a local server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TextIO

import boto3
import botocore.session
from botocore import xform_name
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as UnconnectedError

from deploy.aws import request_check
from deploy.errors import DeployError

Answer = dict[str, Any]
Say = Callable[[str], None]  # a line for the person at the terminal
_ABSENT = {
    "404",
    "NoSuchEntity",
    "NoSuchTagSet",
    "NoSuchBucket",
    "NoSuchKey",
    "ObjectNotFoundException",
    "RepositoryNotFoundException",
    "ImageNotFoundException",
    "ResourceNotFoundException",
    "NoSuchUpload",
}
_BUSY = {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}


@dataclass(frozen=True)
class Call:
    """One API request, by botocore's names."""

    service: str
    operation: str
    parameters: dict[str, Any]

    def check(self) -> None:
        """Raises DeployError with everything botocore's model objects to."""
        found = request_check.problems(self.service, self.operation, self.parameters)
        if found:
            raise DeployError(f"{self.service} {self.operation}: {'; '.join(found)}")


class UnansweredError(DeployError):
    """AWS was not reached or did not answer: whether it did what was asked is not known."""


class RefusedError(DeployError):
    """AWS answered with an error.

    Attributes:
        code: AWS's word for it.
    """

    def __init__(self, call: Call, error: Mapping[str, Any], http_status: int = 400) -> None:
        self.code = str(error.get("Code", ""))
        self._http_status = http_status
        self.message = str(error.get("Message", ""))
        super().__init__(f"{call.service} {call.operation} was refused: {self.code}: {self.message}")

    @property
    def is_absent(self) -> bool:
        """Whether the thing asked for does not exist. SageMaker has no code of its own for that, only words."""
        could_not_find = self.code.startswith("Validation") and "could not find" in self.message.lower()
        return self.code in _ABSENT or could_not_find

    @property
    def is_passing(self) -> bool:
        """Whether AWS is busy or ill, so that the same request may be answered later."""
        return self.code in _BUSY or self._http_status >= 500


class Aws(Protocol):
    """Where requests go. `assumed` is the answer with which a dry run, which sends nothing, goes on."""

    dry: bool

    def send(self, call: Call, assumed: Answer | None = None) -> Answer:
        """The answer to `call`."""

    def find(self, call: Call, assumed: Answer | None = None) -> Answer | None:
        """The answer to `call`, None when the thing asked for does not exist."""

    def pages(self, call: Call, key: str, assumed: list[Any] | None = None) -> list[Any]:
        """The items under `key` of all pages of `call`."""

    def client(self, service: str) -> BaseClient:
        """The boto3 client, for what is not one request: multipart uploads, response streams."""


class LiveAws:
    """Sends requests with boto3."""

    dry = False

    def __init__(self, region: str | None, profile: str | None = None) -> None:
        self._region = region
        self._profile = profile
        self._clients: dict[str, BaseClient] = {}

    def send(self, call: Call, assumed: Answer | None = None) -> Answer:
        """The answer to `call`. Raises DeployError before sending a malformed one, RefusedError for a refusal."""
        call.check()
        with _sentences(call):
            answer: Answer = getattr(self.client(call.service), xform_name(call.operation))(**call.parameters)
            return answer

    def find(self, call: Call, assumed: Answer | None = None) -> Answer | None:
        """The answer to `call`, None when the service says that there is no such thing."""
        try:
            return self.send(call, assumed)
        except RefusedError as error:
            if error.is_absent:
                return None
            raise

    def pages(self, call: Call, key: str, assumed: list[Any] | None = None) -> list[Any]:
        """The items under `key` of all pages."""
        call.check()
        with _sentences(call):
            paginator = self.client(call.service).get_paginator(xform_name(call.operation))
            return [item for page in paginator.paginate(**call.parameters) for item in page.get(key, [])]

    def client(self, service: str) -> BaseClient:
        """One client per service. sagemaker-runtime never retries by itself: a repeated turn would be stored twice."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=_client_config(service))
        return self._clients[service]

    @cached_property
    def _session(self) -> Any:  # the stubs know clients by literal names only
        session = botocore.session.Session(profile=self._profile)
        session.register_component("data_loader", request_check.model_session().get_component("data_loader"))
        return boto3.Session(botocore_session=session, region_name=self._region)


class DryRun:
    """Checks and prints each request as one line of JSON; sends nothing."""

    dry = True

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, call: Call, assumed: Answer | None = None) -> Answer:
        """Prints `call` and answers `assumed`."""
        call.check()
        line = {"service": call.service, "operation": call.operation, "parameters": call.parameters}
        print(json.dumps(line, default=str), file=self._out)
        return assumed or {}

    def find(self, call: Call, assumed: Answer | None = None) -> Answer | None:
        """Prints `call` and answers `assumed`."""
        self.send(call)
        return assumed

    def pages(self, call: Call, key: str, assumed: list[Any] | None = None) -> list[Any]:
        """Prints `call`'s first page and answers `assumed`."""
        self.send(call)
        return assumed or []

    def client(self, service: str) -> BaseClient:
        """A bug of ours: a dry run has nothing to send with."""
        raise AssertionError(f"a dry run asked for a {service} client")


def _client_config(service: str) -> Config:
    if service == "sagemaker-runtime":
        return Config(connect_timeout=10, read_timeout=70, retries={"total_max_attempts": 1})
    return Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})


@contextmanager
def _sentences(call: Call) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        http_status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
        raise RefusedError(call, dict(error.response["Error"]), http_status) from error
    except (HTTPClientError, UnconnectedError) as error:
        raise UnansweredError(f"{call.service} {call.operation} was not answered: {error}") from error
    except BotoCoreError as error:
        raise DeployError(f"{call.service} {call.operation}: {error}") from error
