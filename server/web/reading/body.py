"""A request's JSON body, read no further than the limit; and JSON answers."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import Any

import msgspec
from flask import Request, Response
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from server.errors import ErrorCode, ServiceError
from server.web.reading.json_reader import printable, read_object

JSON = "application/json"
_GZIP, _GZIP_WINDOW = "gzip", 31  # the latter as zlib says it

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


def peek(request: Request) -> bytes:
    """A small body as it was sent, which can then be read as ever; empty where it cannot be had."""
    try:
        return request.get_data()
    except (ClientDisconnected, OSError):
        return b""


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
    if _coding(request) not in ("identity", _GZIP):
        message = f"Content-Encoding {printable(_coding(request))} is not supported; legal are {_GZIP} and none"
        raise ServiceError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message, field="Content-Encoding")


def _coding(request: Request) -> str:
    return request.headers.get("Content-Encoding", "identity").lower()


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
    return _unpacked(body, max_bytes) if _coding(request) == _GZIP else body


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    """What a body in gzip says, unpacked no further than the limit."""
    unpacking = zlib.decompressobj(_GZIP_WINDOW)
    try:
        unpacked = unpacking.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ServiceError(ErrorCode.INVALID_JSON, f"the body is not the gzip that it is said to be: {error}") from None
    if len(unpacked) > max_bytes:
        raise _too_large("is longer when it is unpacked", max_bytes)
    if not unpacking.eof or unpacking.unused_data:
        raise ServiceError(ErrorCode.INVALID_JSON, "the body is not one whole gzip member")
    return unpacked


def _cut_short() -> ServiceError:
    return ServiceError(ErrorCode.INVALID_JSON, "the body ended before its announced length")


def _too_large(found: str, max_bytes: int) -> ServiceError:
    return ServiceError(ErrorCode.BODY_TOO_LARGE, f"the body {found}; at most {max_bytes} bytes are legal")
