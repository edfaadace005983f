"""SageMaker's sticky sessions: a hint for locality. All instances share a store, so any can take over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Request

from server.web.session_id import legal_session_id
from server.web.struct_reader import invalid

SESSION_HEADER = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION_HEADER = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_SESSION_HEADER = "X-Amzn-SageMaker-Closed-Session-Id"
CUSTOM_ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
NEW_SESSION = "NEW_SESSION"

_LONGEST_S = 365 * 86400.0  # stands for "never expires" in the header, which needs a date


def sticky_session_id(request: Request) -> str | None:
    """The session named by SageMaker's header, `NEW_SESSION`, or None. Raises ServiceError for an illegal id."""
    given = request.headers.get(SESSION_HEADER)
    if given is None:
        return None
    return legal_session_id(given, SESSION_HEADER)


def agreed_session_id(in_body: str | None, in_header: str | None) -> str | None:
    """The one session that body and header name. Raises ServiceError when they name two."""
    if in_body is not None:
        legal_session_id(in_body, "parameters.session_id")
    if in_body is not None and in_header not in (None, NEW_SESSION, in_body):
        raise invalid("parameters.session_id", in_body, f"{SESSION_HEADER} names another session, {in_header}")
    return in_body if in_body is not None or in_header == NEW_SESSION else in_header


def new_session_header(session_id: str, ttl_s: float, now: datetime) -> str:
    """The header's value for a session just made; `ttl_s` 0 means that it never expires."""
    expires = now.astimezone(UTC) + timedelta(seconds=ttl_s or _LONGEST_S)
    return f"{session_id}; Expires={expires:%Y-%m-%dT%H:%M:%SZ}"


def custom_attributes(session_id: str) -> dict[str, str]:
    """The header that carries the session id out, also through SageMaker."""
    return {CUSTOM_ATTRIBUTES_HEADER: f"session_id={session_id}"}
