"""The refusal of a turn that cannot be let in, without a thread, a parsed body or a line in the log for each.

It costs a fraction of what the application takes to say the same, so that refusing many leaves the processor to those
that are answered.
"""

from __future__ import annotations

import logging
import secrets
import time
from http import HTTPStatus

import msgspec

from server.errors import ErrorCode, ServiceError
from server.web.call.errors import error_body
from server.web.call.front import Front
from server.web.limits.table import RETRY_AFTER_S

log = logging.getLogger("server.web.access")

# Routes that answer turns. What else is posted to /invocations is told by its fields, and left to the application.
_TURN_ROUTES = (b"POST /v1/chat/completions ", b"POST /v1/completions ", b"POST /v1/responses ", b"POST /invocations ")
_OTHER_WORDS = (b'"action"', b'"requestType"')
_HEADERS_TO_HEED = (b"\r\nx-request-id:", b"\r\norigin:", b"\r\nx-amzn-sagemaker", b"\r\naccept: text/event-stream")
_LOG_EVERY_S = 1.0


class EarlyRefusal:
    """Refuses over `front`. Used by one thread."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._num_unlogged = 0
        self._logged_at = 0.0

    def answer(self, request: bytes) -> bytes | None:
        """A whole response, after which the connection is kept; None: the application is to answer `request`."""
        error = None if self._front.doorkeeper.asks_for_keys else self._error()
        if error is None or not request.startswith(_TURN_ROUTES) or not _is_plain(request):
            return None
        route = request[5 : request.index(b" ", 5)].decode("ascii")
        self._front.metrics.request_ended(route, HTTPStatus.TOO_MANY_REQUESTS, error.code.value, seconds=0.0)
        self._log()
        return _response(error, is_openai=route.startswith("/v1/"))

    def _error(self) -> ServiceError | None:
        concurrency, services = self._front.concurrency, self._front.services
        if concurrency.closed:
            return None
        if concurrency.num_inside >= concurrency.limit:
            message = f"{concurrency.num_inside} requests are at work, which is the limit"
            return ServiceError(ErrorCode.QUEUE_FULL, message, retry_after_s=RETRY_AFTER_S)
        return None if services.gate is None else services.gate.refusal(services.settings.stream_deadline_s)

    def _log(self) -> None:
        self._num_unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_S:
            log.info("requests.refused count=%d code=%s", self._num_unlogged, ErrorCode.QUEUE_FULL.value)
            self._num_unlogged, self._logged_at = 0, now


def _is_plain(request: bytes) -> bool:
    """Whether nothing in the request asks for more than the plain answer."""
    head, _, body = request.partition(b"\r\n\r\n")
    head = head.lower()
    return not any(each in head for each in _HEADERS_TO_HEED) and not any(each in body for each in _OTHER_WORDS)


def _response(error: ServiceError, *, is_openai: bool) -> bytes:
    request_id = f"req-{secrets.token_hex(12)}"
    body = msgspec.json.encode(error_body(error, request_id, openai=is_openai))
    retry_after = max(1, round(error.retry_after_s or 1))
    head = (
        f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nX-Request-Id: {request_id}\r\n"
        f"X-Content-Type-Options: nosniff\r\nRetry-After: {retry_after}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
