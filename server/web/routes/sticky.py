"""Opening and closing a sticky session."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from flask import Response

from server.errors import ErrorCode, ServiceError
from server.web.body import json_response
from server.web.invocation_schema import RequestType
from server.web.services import Services
from server.web.sticky_session import (
    CLOSED_SESSION_HEADER,
    NEW_SESSION,
    NEW_SESSION_HEADER,
    SESSION_HEADER,
    new_session_header,
)


class StickySession(msgspec.Struct, frozen=True):
    """A sticky session was opened or closed. Closing forgets nothing: the conversation stays in the store."""

    session_id: str


def answer_request_type(services: Services, asked: RequestType, sticky: str | None) -> Response:
    """Open a session, or close the one that the header names. Raises ServiceError."""
    if asked.request_type == NEW_SESSION:
        session_id = services.store.create(services.new_session_id()).session_id
        return with_new_session(json_response(StickySession(session_id)), services, session_id)
    if sticky in (None, NEW_SESSION):
        message = f"{SESSION_HEADER} is missing; it names the session to close"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field=SESSION_HEADER)
    response = json_response(StickySession(str(sticky)))
    response.headers[CLOSED_SESSION_HEADER] = str(sticky)
    return response


def with_new_session(response: Response, services: Services, session_id: str | None) -> Response:
    """`response` with the header of a session just made, where one was."""
    if session_id is not None:
        value = new_session_header(session_id, services.settings.session_ttl_s, datetime.now(UTC))
        response.headers[NEW_SESSION_HEADER] = value
    return response
