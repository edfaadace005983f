"""The refusal of a turn that cannot be let in, without a thread, a parsed body or a line in the log for each.

It costs a fraction of what the application takes to say the same, so that refusing many leaves the processor to those
that are answered.
"""

from __future__ import annotations

import logging
import re
import time
from functools import lru_cache
from http import HTTPStatus

import msgspec
from werkzeug.datastructures import Headers

from server.errors import ErrorCode, ServiceError
from server.web.call.errors import error_body
from server.web.call.exchange import new_request_id, request_id_of
from server.web.call.front import Front

log = logging.getLogger("server.web.access")

# Routes that answer turns. What else is posted to /invocations is told by its fields, and left to the application, and
# so is a list, of which a part may be let in.
_TURN_ROUTES = (b"POST /v1/chat/completions ", b"POST /v1/completions ", b"POST /v1/responses ", b"POST /invocations ")
_NO_TURN = (b'"action"', b'"requestType"')
_LIST = re.compile(rb'"inputs"\s*:\s*\[')
# Who asks from a page is answered with more headers; what is packed, or in lines, cannot be told at a glance.
_HEED = (
    b"\r\norigin:", b"\r\nx-amzn-sagemaker", b"\r\ncontent-encoding:", b"\r\ntransfer-encoding:", b"jsonl", b"ndjson",
)  # fmt: skip
_FIELD = re.compile(rb"\r\n([^:\r]+):[ \t]*([^\r]*)")
_LOG_EVERY_S = 1.0
_AN_ID = f"req-{'0' * 24}"  # as long as every other


class EarlyRefusal:
    """Refuses over `front`. Used by one thread."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._num_unlogged = 0
        self._logged_at = 0.0

    def answer(self, request: bytes) -> bytes | None:
        """A whole response, after which the connection is kept; None: the application is to answer `request`."""
        concurrency = self._front.concurrency
        if not request.startswith(_TURN_ROUTES) or concurrency.closed:
            return None
        nobodys = self._nobodys_error()
        if nobodys is None and not concurrency.is_crowded:
            return None
        head, _, body = request.partition(b"\r\n\r\n")
        lowered = head.lower()
        if not _is_plain_turn(lowered, body):
            return None
        is_named = self._front.doorkeeper.asks_for_keys or b"\r\nx-request-id:" in lowered
        headers = _headers(head) if is_named else None
        error = nobodys if headers is None else self._error(headers)
        if error is None:
            return None
        route = request[5 : request.index(b" ", 5)].decode("ascii")
        self._front.metrics.request_ended(route, HTTPStatus.TOO_MANY_REQUESTS, error.code.value, seconds=0.0)
        self._log()
        request_id = new_request_id() if headers is None else request_id_of(headers)
        return _response(error, request_id, is_openai=route.startswith("/v1/"))

    def _nobodys_error(self) -> ServiceError | None:
        """What somebody without a name is told; asked at each request."""
        concurrency, services = self._front.concurrency, self._front.services
        if concurrency.is_crowded and (error := concurrency.refusal()) is not None:
            return error
        return None if services.gate is None else services.gate.refusal(services.settings.stream_deadline_s)

    def _error(self, headers: Headers) -> ServiceError | None:
        """What the caller is told; a refusal counts among the requests of its key."""
        services = self._front.services
        try:
            caller = self._front.doorkeeper.caller(headers)
            error = self._front.concurrency.refusal(caller.turn_taker)
            if error is None and services.gate is not None:
                error = services.gate.refusal(services.settings.stream_deadline_s, caller.name)
            if error is not None and caller.share is not None:
                caller.share.enter()
                caller.share.leave()
        except ServiceError:  # of the key, which the application tells
            return None
        if error is not None and caller.name:
            self._front.metrics.key_used(caller.name, 0)
        return error

    def _log(self) -> None:
        self._num_unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_S:
            log.info("requests.refused count=%d code=%s", self._num_unlogged, ErrorCode.QUEUE_FULL.value)
            self._num_unlogged, self._logged_at = 0, now


def _is_plain_turn(head: bytes, body: bytes) -> bool:
    heed = any(each in head for each in _HEED) or any(each in body for each in _NO_TURN)
    return not heed and _LIST.search(body) is None


def _headers(head: bytes) -> Headers:
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in _FIELD.findall(head)])


def _response(error: ServiceError, request_id: str, *, is_openai: bool) -> bytes:
    if len(request_id) != len(_AN_ID):
        return _words(error.message, error.retry_after_s, is_openai, request_id=request_id)
    words = _words(error.message, error.retry_after_s, is_openai, request_id=_AN_ID)
    return words.replace(_AN_ID.encode("ascii"), request_id.encode("ascii"))


@lru_cache(maxsize=16)
def _words(message: str, retry_after_s: float | None, is_openai: bool, *, request_id: str) -> bytes:
    """A whole response. Many in a row are the same but for their ids."""
    error = ServiceError(ErrorCode.QUEUE_FULL, message, retry_after_s=retry_after_s)
    body = msgspec.json.encode(error_body(error, request_id, openai=is_openai))
    head = (
        f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nX-Request-Id: {request_id}\r\n"
        f"X-Content-Type-Options: nosniff\r\nRetry-After: {max(1, round(retry_after_s or 1))}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
