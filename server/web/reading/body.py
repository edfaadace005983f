"""A request's JSON body, read no further than the limit; and JSON answers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from flask import Request, Response
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from server.errors import ErrorCode, ServiceError
from server.web.reading.json_reader import printable, read_object

JSON = "application/json"


# Types of JSON lines, one object each: SageMaker's batch transform sends many records so.
LINES = ("application/jsonlines", "application/jsonl", "application/x-jsonlines", "application/x-ndjson")


def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """The body's JSON object.

    Raises:
        ServiceError: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, or what `read_object` raises.
    """
    _check_type(request)
    return read_object(_read(request, max_bytes))


def read_lines(request: Request, max_bytes: int) -> list[bytes]:
    """The lines of a body of JSON lines, without blank ones. Raises ServiceError as `read_json` does."""
    _check_type(request, LINES)
    return [line for line in _read(request, max_bytes).split(b"\n") if line.strip()]


def has_lines(request: Request) -> bool:
    """Whether the body is said to be JSON lines."""
    return request.mimetype in LINES


def json_response(value: object, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, content_type=JSON)


def _check_type(request: Request, legal: Collection[str] = (JSON, "application/octet-stream")) -> None:
    """Refuse a body that is said to be something else.

    One that says nothing is read where no page sent it: a page of another origin may send such a body without asking.
    """
    given = request.headers.get("Content-Type", "")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    is_legal = request.mimetype in legal if given else "Origin" not in request.headers
    if not is_legal or charset not in ("utf-8", "utf8"):
        found = printable(given) if given else "(none)"
        message = f"Content-Type {found} is not supported; legal is {JSON}, in UTF-8"
        raise ServiceError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message, field="Content-Type")
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        message = f"Content-Encoding {printable(coding)} is not supported; send the body as it is"
        raise ServiceError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message, field="Content-Encoding")


def _read(request: Request, max_bytes: int) -> bytes:
    announced = request.content_length
    if announced is not None and announced > max_bytes:
        raise _too_large(f"has {announced} bytes", max_bytes)
    request.max_content_length = max_bytes + 1  # a body without a length is read that far and no further
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise _too_large("is longer", max_bytes) from None
    except (ClientDisconnected, OSError) as error:
        raise _cut_short() from error
    if len(body) > max_bytes:
        raise _too_large("is longer", max_bytes)
    if announced is not None and len(body) < announced:
        raise _cut_short()
    return body


def _cut_short() -> ServiceError:
    return ServiceError(ErrorCode.INVALID_JSON, "the body ended before its announced length")


def _too_large(found: str, max_bytes: int) -> ServiceError:
    return ServiceError(ErrorCode.BODY_TOO_LARGE, f"the body {found}; at most {max_bytes} bytes are legal")
