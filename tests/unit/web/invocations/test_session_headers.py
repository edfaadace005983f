"""SageMaker's sticky sessions, held against botocore's own description of the headers."""

from __future__ import annotations

import re

import botocore.session
import pytest

from server.chat.records.session_ids import new_session_id
from server.errors import ErrorCode, ServiceError
from server.web.invocations.session_headers import (
    CLOSED_SESSION_HEADER,
    NEW_SESSION_HEADER,
    SESSION_HEADER,
    SessionRequest,
    new_session_header,
    session_request,
)

INVOKE = botocore.session.get_session().get_service_model("sagemaker-runtime").operation_model("InvokeEndpoint")


def test_header_names_are_those_of_the_service() -> None:
    assert INVOKE.input_shape.members["SessionId"].serialization["name"] == SESSION_HEADER
    assert INVOKE.output_shape.members["NewSessionId"].serialization["name"] == NEW_SESSION_HEADER
    assert INVOKE.output_shape.members["ClosedSessionId"].serialization["name"] == CLOSED_SESSION_HEADER


def test_the_new_session_header_is_id_and_expiry_in_utc() -> None:
    assert new_session_header("abc", 1678457100.9) == "abc; Expires=2023-03-10T14:05:00Z"


def test_the_headers_of_a_new_id_are_what_the_service_accepts() -> None:
    session_id = new_session_id()
    for member, value in (
        ("NewSessionId", new_session_header(session_id, 2e9)),
        ("ClosedSessionId", session_id),
    ):
        shape = INVOKE.output_shape.members[member]
        assert re.fullmatch(shape.metadata["pattern"], value)
        assert len(value) <= shape.metadata["max"]


def test_a_request_type_is_recognised() -> None:
    assert session_request({"requestType": "NEW_SESSION"}) is SessionRequest.NEW_SESSION
    assert session_request({"requestType": "CLOSE"}) is SessionRequest.CLOSE
    assert session_request({"inputs": "hi"}) is None
    assert session_request({}) is None


@pytest.mark.parametrize("found", ["close", "", None, 1, ["CLOSE"], {"a": 1}])
def test_another_request_type_is_refused_with_the_legal_ones(found: object) -> None:
    with pytest.raises(ServiceError, match="NEW_SESSION, CLOSE") as caught:
        session_request({"requestType": found})
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert caught.value.field == "requestType"


def test_a_field_beside_the_request_type_is_refused_by_name() -> None:
    with pytest.raises(ServiceError, match="'inputs'") as caught:
        session_request({"requestType": "CLOSE", "inputs": "hi"})
    assert caught.value.code is ErrorCode.UNKNOWN_FIELD
    assert caught.value.field == "inputs"
