"""Which conversation a request's headers name, and the headers that say which one answered.

SageMaker's sticky sessions are a hint for locality: any instance can take any conversation over.
"""

from __future__ import annotations

import time

from flask import Request, Response

from server.chat.records.session_ids import check_session_id
from server.web.invocations.sticky_headers import NEW_SESSION_HEADER, SESSION_HEADER, SessionRequest, new_session_header
from server.web.reading.struct_reader import invalid

CUSTOM_ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
NEW_SESSION = SessionRequest.NEW_SESSION.value

_LONGEST_S = 365 * 86400.0  # stands for "never expires" in the header, which needs a date


def sticky_session_id(request: Request) -> str | None:
    """The session named by SageMaker's header, `NEW_SESSION`, or None. Raises ServiceError for an illegal id."""
    given = request.headers.get(SESSION_HEADER)
    return given if given in (None, NEW_SESSION) else check_session_id(given, SESSION_HEADER)


def agreed_session_id(in_body: str | None, in_header: str | None) -> str | None:
    """The one session that body and header name. Raises ServiceError for an illegal id, and for two different ones."""
    named = None if in_header == NEW_SESSION else in_header
    if in_body is None:
        return named
    if named not in (None, in_body):
        raise invalid("parameters.session_id", in_body, f"{SESSION_HEADER} names another session, {named}")
    return check_session_id(in_body)


def with_session(response: Response, session_id: str) -> Response:
    """`response` with the session's id in the header that also passes through SageMaker."""
    response.headers[CUSTOM_ATTRIBUTES_HEADER] = f"session_id={session_id}"
    return response


def with_new_session(response: Response, session_id: str, ttl_s: float) -> Response:
    """`response` with the header of a session just made; `ttl_s` 0 means that it never expires."""
    response.headers[NEW_SESSION_HEADER] = new_session_header(session_id, time.time() + (ttl_s or _LONGEST_S))
    return response
