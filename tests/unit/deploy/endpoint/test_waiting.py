"""Watching an endpoint through a network that fails, on a clock of the test's own."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from deploy.aws.api import Call, RefusedError, UnansweredError
from deploy.endpoint.failure import EndpointFailedError, EndpointMixedError
from deploy.endpoint.waiting import StillMovingError, Waiter
from deploy.errors import DeployError

LOOK = Call("sagemaker", "DescribeEndpoint", {"EndpointName": "talker"})
AWAY = UnansweredError("sagemaker DescribeEndpoint was not answered: Could not connect to the endpoint URL")
BUSY = RefusedError(LOOK, {"Code": "ThrottlingException", "Message": "Rate exceeded"})
ILL = RefusedError(LOOK, {"Code": "InternalFailure", "Message": "oops"}, http_status=500)
EXPIRED = RefusedError(LOOK, {"Code": "ExpiredTokenException", "Message": "The security token is expired"})


class Looks:
    """Answers each DescribeEndpoint with the next of `answers`, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = deque(answers)
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.said: list[str] = []

    def find(self, call: Call, assumed: Any = None) -> Any:
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, DeployError):
            raise answer
        return {"EndpointStatus": answer, "EndpointConfigName": "talker-new"}

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def waiter(self) -> Waiter:
        return Waiter(self, self.said.append, poll_s=15.0, sleep=self.sleep, clock=lambda: self.now_s)


@pytest.mark.parametrize("fault", [AWAY, BUSY, ILL])
def test_a_look_that_is_not_answered_is_repeated_with_growing_pauses_and_said(fault):
    looks = Looks("Creating", fault, fault, fault, "InService")
    assert looks.waiter().settled("talker", "talker-new", 3600)["EndpointStatus"] == "InService"
    assert looks.pauses == [15, 15, 30, 60]
    assert looks.said[1] == f"{fault}; looking again in 15 s"


def test_a_network_that_stays_away_is_not_the_endpoints_failure():
    looks = Looks("Updating", AWAY)
    with pytest.raises(StillMovingError) as caught:
        looks.waiter().settled("talker", "talker-new", 36000)
    assert not isinstance(caught.value, EndpointFailedError)
    assert "Could not connect" in str(caught.value)
    assert str(caught.value).endswith("SageMaker goes on with it, to look: python -m deploy status")
    assert len(looks.pauses) == 8
    assert 300 < looks.now_s < 600


def test_an_expired_token_ends_the_wait_at_once_and_is_not_the_endpoints_failure():
    looks = Looks("Updating", EXPIRED)
    with pytest.raises(StillMovingError, match=r"cannot be watched any longer .*ExpiredToken.*deploy status"):
        looks.waiter().settled("talker", "talker-new", 3600)


def test_a_wait_that_is_too_short_is_not_the_endpoints_failure():
    looks = Looks("Creating")
    with pytest.raises(StillMovingError, match="is still Creating after 60 s; SageMaker goes on with it"):
        looks.waiter().settled("talker", "talker-new", 60)


def test_a_way_back_that_failed_leaves_both_configurations_needed():
    with pytest.raises(EndpointMixedError, match="UpdateRollbackFailed"):
        Looks("Updating", "UpdateRollbackFailed").waiter().settled("talker", "talker-new", 3600)
