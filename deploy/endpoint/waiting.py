"""Watching an endpoint until it has settled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.aws.api import Aws, Call, RefusedError, Say, UnansweredError
from deploy.aws.new_role import send_once_assumable
from deploy.endpoint.failure import EndpointFailedError, failed, reason
from deploy.endpoint.requests import describe_component, describe_config, describe_endpoint
from deploy.errors import DeployError
from deploy.specification import names
from deploy.specification.endpoint_file import EndpointFile

Description = dict[str, Any]
_MOVING = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
_MOST_FAULTS = 8  # looks in a row without an answer, each after botocore's own attempts
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class _Watched:
    """What is looked at, and which field of the answer says how it is."""

    name: str
    look: Call
    status: str


def _endpoint(name: str) -> _Watched:
    return _Watched(name, describe_endpoint(name), status="EndpointStatus")


def _component(file: EndpointFile) -> _Watched:
    return _Watched(names.component_name(file), describe_component(file), status="InferenceComponentStatus")


def component_failed(name: str, description: Description) -> EndpointFailedError:
    """The error for an inference component whose description says that it will not serve."""
    status = description.get("InferenceComponentStatus", "missing")
    return EndpointFailedError(f"inference component {name} is {status}: {reason(description)}")


class StillMovingError(DeployError):
    """It is not known how the endpoint settles: SageMaker goes on with it, this command does not watch any longer."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why}; SageMaker goes on with it, to look: python -m deploy status")


class Waiter:
    """Asks every `poll_s` seconds. The clock and the sleep come in, so that a test need not wait.

    For the first `grace_s` seconds after a request an answer that does not know of it yet is not believed. A look that
    is not answered is repeated, with growing pauses.
    """

    def __init__(
        self,
        aws: Aws,
        say: Say,
        poll_s: float = 15.0,
        grace_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._aws = aws
        self._say = say
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._sleep = sleep
        self._clock = clock

    def settled(self, name: str, config: str, timeout_s: float) -> Description:
        """The endpoint's description once it is InService, with `config` or, after a rollback, another.

        Raises:
            EndpointFailedError: it settled otherwise, or there is no such endpoint.
            StillMovingError: it still moves after `timeout_s`, or AWS does not answer any more.
        """

        def old_news(description: Description | None) -> bool:
            return description is None or description.get("EndpointConfigName") != config

        assumed = {"EndpointStatus": "InService", "EndpointConfigName": config}
        description = self._watch(_endpoint(name), timeout_s, assumed, old_news=old_news)
        if description is None or description["EndpointStatus"] != "InService":
            raise failed(name, description or {})
        return description

    def gone(self, name: str, timeout_s: float = 1800.0) -> None:
        """Returns when there is no such endpoint any more. Raises EndpointFailedError when it settles otherwise."""
        description = self._watch(
            _endpoint(name), timeout_s, None, old_news=lambda description: description is not None
        )
        if description is not None:
            raise failed(name, description)

    def at_rest(self, name: str, timeout_s: float = 3600.0) -> None:
        """Returns when the endpoint no longer moves, or is gone."""
        self._watch(_endpoint(name), timeout_s, None, old_news=lambda _: False)

    def component_settled(self, file: EndpointFile, model: str, timeout_s: float) -> Description:
        """The description of the endpoint's inference component once it no longer moves.

        Raises:
            EndpointFailedError: there is none.
            StillMovingError: it still moves after `timeout_s`, or AWS does not answer any more.
        """

        def old_news(description: Description | None) -> bool:
            return description is None or description["Specification"].get("ModelName") != model

        assumed = {"InferenceComponentStatus": "InService", "Specification": {"ModelName": model}}
        description = self._watch(_component(file), timeout_s, assumed, old_news=old_news)
        if description is None:
            raise component_failed(names.component_name(file), {})
        return description

    def component_gone(self, file: EndpointFile, timeout_s: float = 1800.0) -> None:
        """Returns when there is no such component any more. Raises EndpointFailedError when it stays."""
        there = self._watch(_component(file), timeout_s, None, old_news=lambda description: description is not None)
        if there is not None:
            raise component_failed(names.component_name(file), there)

    def send_once_assumable(self, call: Call) -> None:
        """Sends a request that names a role, and again while the role has only just been made."""
        send_once_assumable(self._aws, call, self._say, sleep=lambda pause_s: self._sleep(min(pause_s, self._poll_s)))

    def config_visible(self, name: str, timeout_s: float = 60.0) -> None:
        """Returns when a configuration just made can be read: CreateEndpoint reads an eventually consistent copy."""
        give_up = self._clock() + timeout_s
        while self._aws.find(describe_config(name), assumed={}) is None:
            if self._clock() > give_up:
                raise DeployError(f"endpoint configuration {name} is not visible {timeout_s:g} s after it was made")
            self._sleep(min(self._poll_s, 1.0))

    def _watch(
        self,
        watched: _Watched,
        timeout_s: float,
        assumed: Description | None,
        old_news: Callable[[Description | None], bool],
    ) -> Description | None:
        began, last = self._clock(), ""
        while True:
            description = self._look(watched, assumed)
            status = str(description[watched.status]) if description else "gone"
            elapsed_s = self._clock() - began
            if status != last:
                self._say(f"{watched.name}: {status} after {elapsed_s:.0f} s")
                last = status
            if status not in _MOVING and not (elapsed_s < self._grace_s and old_news(description)):
                return description
            if elapsed_s > timeout_s:
                raise StillMovingError(watched.name, f"is still {status} after {timeout_s:g} s")
            self._sleep(self._poll_s)

    def _look(self, watched: _Watched, assumed: Description | None) -> Description | None:
        pause_s, num_faults = self._poll_s, 0
        while True:
            try:
                return self._aws.find(watched.look, assumed)
            except DeployError as error:
                num_faults += 1
                if num_faults == _MOST_FAULTS or not _is_passing(error):
                    raise StillMovingError(watched.name, f"cannot be watched any longer ({error})") from error
                self._say(f"{error}; looking again in {pause_s:g} s")
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _is_passing(error: DeployError) -> bool:
    return isinstance(error, UnansweredError) or (isinstance(error, RefusedError) and error.is_passing)
