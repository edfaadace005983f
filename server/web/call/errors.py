"""From an error to a status and a body: our words on our routes, OpenAI's on its own."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from server.errors import ErrorCode, ServiceError

SERVER_SHUTDOWN = "server_shutdown"  # the in-band word for a stream that the shutdown cut short

STATUS: dict[ErrorCode, HTTPStatus] = {
    ErrorCode.INVALID_JSON: HTTPStatus.BAD_REQUEST,
    ErrorCode.INVALID_FIELD: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNKNOWN_FIELD: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNSUPPORTED_FIELD: HTTPStatus.BAD_REQUEST,
    ErrorCode.PROMPT_TOO_LONG: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.SESSION_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.INVALID_API_KEY: HTTPStatus.UNAUTHORIZED,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.SESSION_BUSY: HTTPStatus.CONFLICT,
    ErrorCode.CANCELLED: HTTPStatus.CONFLICT,
    ErrorCode.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.QUEUE_FULL: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.ENGINE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.STORE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.RETRIEVAL_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.SHUTTING_DOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.DEADLINE: HTTPStatus.GATEWAY_TIMEOUT,
}
_RETRYABLE = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_RETRYABLE_CODES = {code for code, status in STATUS.items() if status in _RETRYABLE} | {ErrorCode.DEADLINE}
_RETRYABLE_CODES -= {ErrorCode.CANCELLED}


# What OpenAI calls them; its clients branch on these words.
_OPENAI_CODES = {
    ErrorCode.PROMPT_TOO_LONG: "context_length_exceeded",
    ErrorCode.QUEUE_FULL: "rate_limit_exceeded",
    ErrorCode.RATE_LIMITED: "rate_limit_exceeded",
    ErrorCode.UNSUPPORTED_FIELD: "unsupported_parameter",
    ErrorCode.UNKNOWN_FIELD: "unknown_parameter",
    ErrorCode.INVALID_FIELD: "invalid_value",
}
_MODEL_NOT_FOUND = "model_not_found"


class ErrorDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, for a client to branch on. `type` and `param` are there on the OpenAI routes alone."""

    code: str
    message: str
    request_id: str
    retryable: bool
    field: str | None = None
    retry_after: float | None = None  # seconds; in the body since SageMaker drops the header
    type: str | None = None
    param: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorDetail


def error_body(error: ServiceError, request_id: str, *, openai: bool = False) -> ErrorBody:
    """The body for `error`; with `openai`, the fields that OpenAI's clients read are there too."""
    return ErrorBody(
        ErrorDetail(
            code=_openai_code(error) if openai else error.code.value,
            message=_openai_message(error) if openai else error.message,
            request_id=request_id,
            retryable=error.code in _RETRYABLE_CODES,
            field=error.field,
            retry_after=error.retry_after_s,
            type=_openai_type(STATUS[error.code]) if openai else None,
            param=_openai_param(error) if openai else None,
        )
    )


def shutdown_body(request_id: str, *, openai: bool = False) -> ErrorBody:
    """The in-band error of a stream that the shutdown cut short."""
    return ErrorBody(
        ErrorDetail(
            code=SERVER_SHUTDOWN,
            message="the server is shutting down and ended the reply early; the text so far is stored",
            request_id=request_id,
            retryable=True,
            type="server_error" if openai else None,
        )
    )


def service_error(error: HTTPException, method: str, path: str) -> ServiceError:
    """What an error of the HTTP layer is in our words."""
    if isinstance(error, NotFound):
        return ServiceError(ErrorCode.NOT_FOUND, f"{method} {path[:200]}: no such route; GET /openapi.json lists them")
    if isinstance(error, MethodNotAllowed):
        legal = ", ".join(sorted(error.valid_methods or ()))
        return ServiceError(ErrorCode.METHOD_NOT_ALLOWED, f"{method} {path[:200]}: legal methods are {legal}")
    if isinstance(error, RequestEntityTooLarge):
        return ServiceError(ErrorCode.BODY_TOO_LARGE, "the body is over the limit")
    if error.code is not None and error.code < 500:
        return ServiceError(ErrorCode.INVALID_JSON, f"the request cannot be read: {error.description}")
    return unexpected_error()


def unexpected_error() -> ServiceError:
    """The answer to a failure of our own; the log has its cause under the request id."""
    return ServiceError(ErrorCode.INTERNAL, "an unexpected error; the log names its cause under this request id")


def _openai_code(error: ServiceError) -> str:
    if error.code is ErrorCode.NOT_FOUND and error.field == "model":
        return _MODEL_NOT_FOUND
    return _OPENAI_CODES.get(error.code, error.code.value)


def _openai_message(error: ServiceError) -> str:
    """LiteLLM and LangChain know a prompt that is too long by these words of the message, whatever the code says."""
    if error.code is not ErrorCode.PROMPT_TOO_LONG:
        return error.message
    return f"This model's maximum context length is exceeded (context_length_exceeded): {error.message}"


def _openai_param(error: ServiceError) -> str | None:
    """The field's name there: the turn knows only those of /invocations."""
    return "messages" if error.code is ErrorCode.PROMPT_TOO_LONG else error.field


def _openai_type(status: HTTPStatus) -> str:
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
