"""Answers that leave before the application is called: to a head that cannot be read, to a client that is too slow."""

from __future__ import annotations

import secrets
from http import HTTPStatus

import msgspec
from gunicorn.http.errors import (
    InvalidHeader,
    InvalidHeaderName,
    InvalidHTTPVersion,
    InvalidRequestLine,
    InvalidRequestMethod,
    LimitRequestHeaders,
    LimitRequestLine,
    ObsoleteFolding,
)

_WORDS: dict[type[Exception], tuple[HTTPStatus, str, str]] = {
    LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "the request's first line is too long"),
    LimitRequestHeaders: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "the headers are too large"),
}
_UNREADABLE = (
    InvalidRequestLine, InvalidRequestMethod, InvalidHTTPVersion, InvalidHeader, InvalidHeaderName, ObsoleteFolding,
)  # fmt: skip


def unreadable(error: Exception) -> bytes | None:
    """A whole response in the shape of all our errors; None for what is no fault of the client's."""
    for kind, (status, code, message) in _WORDS.items():
        if isinstance(error, kind):
            return response(status, code, f"{message}: {error}")
    if isinstance(error, _UNREADABLE):
        return response(HTTPStatus.BAD_REQUEST, "invalid_request", f"the request's head cannot be read: {error}")
    return None


def response(status: HTTPStatus, code: str, message: str, *, retry_after_s: float | None = None) -> bytes:
    """A whole response in the shape of all our errors, after which the connection is closed."""
    request_id = f"req-{secrets.token_hex(12)}"
    error: dict[str, object] = {
        "code": code, "message": message[:400], "request_id": request_id, "retryable": retry_after_s is not None,
    }  # fmt: skip
    again = ""
    if retry_after_s is not None:
        error["retry_after"] = retry_after_s
        again = f"Retry-After: {max(1, round(retry_after_s))}\r\n"
    body = msgspec.json.encode({"error": error})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n{again}"
        f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
