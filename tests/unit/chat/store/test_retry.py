"""Asking AWS again: how often, after which pauses, and what is told when it is in vain."""

from __future__ import annotations

import random

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from server.chat.store.retry import Retrying
from server.errors import ErrorCode, ServiceError


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutItem")


class Request:
    """Fails with each of `faults` in turn, then succeeds."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.num_calls = 0

    def __call__(self) -> str:
        self.num_calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"


PASSING = [
    refusal("ProvisionedThroughputExceededException"),
    refusal("ThrottlingException"),
    refusal("InternalServerError", 500),
    refusal("", 503),
    EndpointConnectionError(endpoint_url="http://x"),
    ConnectTimeoutError(endpoint_url="http://x"),
    ReadTimeoutError(endpoint_url="http://x"),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: type(fault).__name__)
def test_a_passing_fault_is_asked_again(fault: Exception) -> None:
    pauses: list[float] = []
    request = Request(fault, fault)
    assert Retrying(sleep=pauses.append).call(request) == "done"
    assert request.num_calls == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: type(fault).__name__)
def test_a_fault_that_stays_ends_in_store_unavailable(fault: Exception) -> None:
    request = Request(*[fault] * 50)
    with pytest.raises(ServiceError) as caught:
        Retrying(attempts=4, sleep=lambda _: None).call(request)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert caught.value.retry_after_s
    assert "http://x" not in caught.value.message
    assert request.num_calls == 4


def test_a_refusal_is_not_asked_again() -> None:
    request = Request(refusal("ConditionalCheckFailedException"))
    with pytest.raises(ClientError):
        Retrying(sleep=lambda _: None).call(request)
    assert request.num_calls == 1


def test_missing_credentials_are_an_outage_at_once() -> None:
    request = Request(NoCredentialsError())
    with pytest.raises(ServiceError) as caught:
        Retrying(sleep=lambda _: None).call(request)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert request.num_calls == 1


def test_pauses_are_random_grow_and_stay_bounded() -> None:
    most = [0.2, 0.4, 0.5, 0.5]
    seen: list[list[float]] = []
    for seed in range(50):
        pauses: list[float] = []
        retrying = Retrying(5, 0.1, 0.5, sleep=pauses.append, rng=random.Random(seed))
        with pytest.raises(ServiceError):
            retrying.call(Request(*[refusal("ThrottlingException")] * 5))
        seen.append(pauses)
    for place, limit in enumerate(most):
        found = [pauses[place] for pauses in seen]
        assert limit * 0.8 < max(found) <= limit
        assert min(found) < limit * 0.2


def test_no_further_attempt_begins_when_the_time_for_all_is_over() -> None:
    request = Request(*PASSING[:4])
    with pytest.raises(ServiceError) as caught:
        Retrying(sleep=lambda _: None, budget_s=-1.0).call(request)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert request.num_calls == 1
