"""Headers that say which conversation a turn belongs to: SageMaker's sticky sessions, and the key of a retry.

Any instance can take any session over, so a sticky session is a hint on top of stored conversations, and its expiry
only says how long SageMaker keeps the client on one instance. A retry is no second turn: the key says what it repeats.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from flask import Request, Response

from server.chat.records.session_ids import check_session_id, new_session_id
from server.chat.services import Services
from server.errors import ErrorCode, ServiceError
from server.web.call.front import store_of
from server.web.limits.table import LEAST_KEY_CHARS, MAX_KEY_CHARS
from server.web.reading.body import json_response
from server.web.reading.struct_reader import invalid

SESSION_HEADER = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION_HEADER = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_SESSION_HEADER = "X-Amzn-SageMaker-Closed-Session-Id"
CUSTOM_ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
RETRY_KEY_HEADER = "Idempotency-Key"
INFERENCE_ID_HEADER = "X-Amzn-SageMaker-Inference-Id"
_FIELD = "requestType"
_LONGEST_S = 365 * 86400.0  # stands for "never expires" in the header, which needs a date


class SessionRequest(StrEnum):
    """The body's `requestType`."""

    NEW_SESSION = "NEW_SESSION"
    CLOSE = "CLOSE"


NEW_SESSION = SessionRequest.NEW_SESSION.value


class StickySession(msgspec.Struct, frozen=True):
    """A sticky session was opened or closed. Closing forgets nothing: the conversation stays in the store."""

    session_id: str


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


def answer_session_request(services: Services, asked: SessionRequest, sticky: str | None) -> Response:
    """Open a session, or close the one that the header names. Raises ServiceError."""
    if asked is SessionRequest.NEW_SESSION:
        session_id = store_of(services).create(new_session_id()).session_id
        return with_new_session(json_response(StickySession(session_id)), session_id, services.settings.session_ttl_s)
    if sticky is None or sticky == NEW_SESSION:
        message = f"{SESSION_HEADER} is missing; it names the session to close"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field=SESSION_HEADER)
    response = json_response(StickySession(sticky))
    response.headers[CLOSED_SESSION_HEADER] = sticky
    return response


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


def new_session_header(session_id: str, expires_at: float) -> str:
    """The value of `NEW_SESSION_HEADER`; `expires_at` in seconds since the epoch."""
    return f"{session_id}; Expires={datetime.fromtimestamp(expires_at, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class IdempotencyKey:
    """The digest that is stored with the turn, and the session of a first question; "" and None without a key."""

    digest: str = ""
    new_session_id: str | None = None


def idempotency_key(request: Request, text: str) -> IdempotencyKey:
    """What the request's headers say. SageMaker passes on its own header alone, which clients may use for other things:
    there it is the same turn only when the question is the same, too, and a first question is never recognised.

    Raises:
        ServiceError: a key that could be anybody's: it must not be guessed, since it finds a conversation.
    """
    given = request.headers.get(RETRY_KEY_HEADER)
    if given is not None:
        if not LEAST_KEY_CHARS <= len(given) <= MAX_KEY_CHARS or not given.isascii() or not given.isprintable():
            rule = (
                f"must be {LEAST_KEY_CHARS} to {MAX_KEY_CHARS} printable ASCII characters, found {len(given)}, and "
                "hard to guess: a UUID"
            )
            raise invalid(RETRY_KEY_HEADER, given[:40], rule)
        digest = _digest(given)
        return IdempotencyKey(digest, f"once-{digest}")
    inference_id = request.headers.get(INFERENCE_ID_HEADER)
    return IdempotencyKey(_digest(f"{inference_id}\0{text}")) if inference_id else IdempotencyKey()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
