"""What a request can be refused or fail with, without a word about HTTP."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """One word a client can branch on; server.web maps each to a status."""

    INVALID_JSON = "invalid_json"
    INVALID_FIELD = "invalid_field"
    UNKNOWN_FIELD = "unknown_field"
    UNSUPPORTED_FIELD = "unsupported_field"
    PROMPT_TOO_LONG = "prompt_too_long"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INVALID_API_KEY = "invalid_api_key"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_BUSY = "session_busy"
    CANCELLED = "cancelled"
    QUEUE_FULL = "queue_full"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    RETRIEVAL_UNAVAILABLE = "retrieval_unavailable"
    DEADLINE = "deadline"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


class PassingError(ValueError):
    """A start that failed for want of something that may be there at the next try, as memory is after a crash."""


class ServiceError(Exception):
    """A request that ends without an answer.

    Attributes:
        code: the word for clients.
        message: one sentence with the field, the value found and what is legal.
        field: the offending field's path, where there is one.
        retry_after_s: seconds after which the same request may succeed, where waiting helps.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
