"""SageMaker's sticky sessions as a hint on top of stored conversations: what asks for one, and what answers it.

Any instance can take any session over, so the expiry only says how long SageMaker keeps the client on one instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from server.errors import ErrorCode, ServiceError

SESSION_HEADER = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION_HEADER = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_SESSION_HEADER = "X-Amzn-SageMaker-Closed-Session-Id"
_FIELD = "requestType"


class SessionRequest(StrEnum):
    """The body's `requestType`."""

    NEW_SESSION = "NEW_SESSION"
    CLOSE = "CLOSE"


def session_request(body: Mapping[str, object]) -> SessionRequest | None:
    """What a body of the form {"requestType": ...} asks for; None for any other body.

    Raises:
        ServiceError: INVALID_FIELD for another request type, UNKNOWN_FIELD for a field beside it.
    """
    if _FIELD not in body:
        return None
    beside = sorted(set(body) - {_FIELD})
    if beside:
        raise ServiceError(
            ErrorCode.UNKNOWN_FIELD, f"{beside[0]!r} beside {_FIELD!r}: a session request has no other field",
            field=beside[0],
        )  # fmt: skip
    found = body[_FIELD]
    if not isinstance(found, str) or found not in set(SessionRequest):
        legal = ", ".join(SessionRequest)
        raise ServiceError(ErrorCode.INVALID_FIELD, f"{_FIELD}={found!r}: legal are {legal}", field=_FIELD)
    return SessionRequest(found)


def new_session_header(session_id: str, expires_at: float) -> str:
    """The value of `NEW_SESSION_HEADER`; `expires_at` in seconds since the epoch."""
    return f"{session_id}; Expires={datetime.fromtimestamp(expires_at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def closed_session_header(session_id: str) -> str:
    """The value of `CLOSED_SESSION_HEADER`."""
    return session_id
