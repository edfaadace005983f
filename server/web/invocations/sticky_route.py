"""Opening and closing a sticky session."""

from __future__ import annotations

import msgspec
from flask import Response

from server.chat.records.session_ids import new_session_id
from server.chat.services import Services
from server.errors import ErrorCode, ServiceError
from server.web.invocations.sticky_headers import (
    CLOSED_SESSION_HEADER,
    SESSION_HEADER,
    SessionRequest,
    closed_session_header,
)
from server.web.invocations.sticky_session import NEW_SESSION, with_new_session
from server.web.reading.body import json_response


class StickySession(msgspec.Struct, frozen=True):
    """A sticky session was opened or closed. Closing forgets nothing: the conversation stays in the store."""

    session_id: str


def answer_session_request(services: Services, asked: SessionRequest, sticky: str | None) -> Response:
    """Open a session, or close the one that the header names. Raises ServiceError."""
    if asked is SessionRequest.NEW_SESSION:
        session_id = services.store.create(new_session_id()).session_id
        return with_new_session(json_response(StickySession(session_id)), session_id, services.settings.session_ttl_s)
    if sticky is None or sticky == NEW_SESSION:
        message = f"{SESSION_HEADER} is missing; it names the session to close"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field=SESSION_HEADER)
    response = json_response(StickySession(sticky))
    response.headers[CLOSED_SESSION_HEADER] = closed_session_header(sticky)
    return response
