"""Why an endpoint failed: SageMaker's reason and the container's last lines."""

from __future__ import annotations

from typing import Any

from deploy.aws.api import Aws, Call
from deploy.errors import DeployError
from deploy.specification.names import log_group

TAIL_LINES = 30


_MIXED = "UpdateRollbackFailed"


class EndpointFailedError(DeployError):
    """The endpoint settled otherwise than asked; its containers' log says more."""


class EndpointMixedError(EndpointFailedError):
    """The way back failed as well: instances of the old and of the new configuration serve, both are still needed."""


def failed(name: str, description: dict[str, Any]) -> EndpointFailedError:
    """The error for an endpoint whose description says that it will not serve."""
    status = description.get("EndpointStatus", "missing")
    kind = EndpointMixedError if status == _MIXED else EndpointFailedError
    return kind(f"endpoint {name} is {status}: {reason(description)}")


def reason(description: dict[str, Any]) -> str:
    """SageMaker's FailureReason."""
    return str(description.get("FailureReason") or "SageMaker gives no reason")


def log_tail(aws: Aws, name: str, num_lines: int = TAIL_LINES) -> list[str]:
    """The last lines of the newest log stream of endpoint `name`, oldest first; empty where nothing was logged."""
    newest = {"logGroupName": log_group(name), "orderBy": "LastEventTime", "descending": True, "limit": 1}
    streams = (aws.find(Call("logs", "DescribeLogStreams", newest)) or {}).get("logStreams", [])
    if not streams:
        return []
    parameters = {"logGroupName": log_group(name), "logStreamName": streams[0]["logStreamName"], "limit": num_lines}
    events = (aws.find(Call("logs", "GetLogEvents", parameters)) or {}).get("events", [])
    return [str(event["message"]).rstrip() for event in events][-num_lines:]
