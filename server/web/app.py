"""The Flask application over one set of services."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from server.chat.services import Services
from server.errors import ErrorCode, ServiceError
from server.web.call.early_refusal import EarlyRefusal
from server.web.call.errors import STATUS, error_body, service_error, unexpected_error
from server.web.call.exchange import Exchange
from server.web.call.front import Front, current_exchange
from server.web.call.metrics import Metrics
from server.web.call.origins import KnownHosts, Origins
from server.web.call.tracing import open_tracer
from server.web.describe import route as openapi
from server.web.invocations import route as invocations
from server.web.keys.doorkeeper import Doorkeeper
from server.web.limits.concurrency import ConcurrencyLimit, admission_limit
from server.web.limits.drain import Drain
from server.web.limits.list_pool import ListPool
from server.web.limits.slow_client import limit_waiting
from server.web.limits.table import LIST_THREADS
from server.web.openai import (
    chat_completions,
    completions,
    embeddings,
    models,
    moderations,
    responses,
    stored_responses,
)
from server.web.operations import metrics, ping
from server.web.page import route as page
from server.web.reading.body import json_response
from server.web.search import route as search
from server.web.sessions import listing
from server.web.sessions import route as sessions
from server.web.sessions import turns as session_turns

log = logging.getLogger(__name__)

_SLASHES = re.compile("/{2,}")

_OPENAI = (chat_completions, completions, responses, stored_responses, embeddings, moderations, models)
_ROOMS = (ping, metrics, *_OPENAI, search, listing, sessions, session_turns)
OPERATIONS = tuple(each for room in (*_ROOMS, invocations, page) for each in room.OPERATIONS)


def create_app(services: Services) -> Flask:
    """The front over `services`. `app.extensions["front"]` is its `Front`, whose drain the server runs at its end.

    Raises:
        ConfigError: the file of API keys cannot be used.
    """
    concurrency = ConcurrencyLimit(admission_limit(services.settings.threads))
    drain = Drain(concurrency, services.turns.end_all, services.settings.drain_timeout_s)
    lists = ListPool(LIST_THREADS)
    front = Front(
        services, concurrency, drain, metrics=Metrics(services, concurrency), lists=lists,
        doorkeeper=Doorkeeper.of(services.settings),
    )  # fmt: skip
    app = Flask(__name__, static_folder=None)
    app.extensions["front"] = front
    app.extensions["refuse_early"] = EarlyRefusal(front).answer
    app.wsgi_app = _PlainPaths(app.wsgi_app)  # type: ignore[method-assign]
    _handle_calls(app, front)
    _handle_errors(app)
    for room in _ROOMS:
        app.register_blueprint(room.blueprint(front))
    app.register_blueprint(invocations.blueprint(front, {"messages": chat_completions.chat_answerer(front)}))
    app.register_blueprint(invocations.batch_transform_blueprint(front))
    app.register_blueprint(page.blueprint(services.settings))
    app.register_blueprint(openapi.blueprint(services.settings, OPERATIONS))
    return app


def _handle_calls(app: Flask, front: Front) -> None:
    origins = Origins(front.services.settings.cors_origins)
    hosts = KnownHosts(front.services.settings)
    tracer = open_tracer(front.services.settings)

    @app.before_request
    def begin() -> None:
        g.exchange = Exchange(request, front.metrics, tracer)
        hosts.check(request.headers.get("Host"))
        limit_waiting(request.environ)

    @app.after_request
    def end(response: Response) -> Response:
        exchange = current_exchange()
        response.headers["X-Request-Id"] = exchange.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        origins.allow(request, response)
        if response.is_streamed:
            response.call_on_close(lambda: exchange.end(response.status_code))
        else:
            exchange.end(response.status_code)
        return response


def _handle_errors(app: Flask) -> None:
    @app.errorhandler(ServiceError)
    def on_service_error(error: ServiceError) -> Response:
        return _refusal(error)

    @app.errorhandler(HTTPException)
    def on_http_error(error: HTTPException) -> Response:
        response = _refusal(service_error(error, request.method, request.path))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(Exception)
    def on_unexpected_error(error: Exception) -> Response:
        log.error("request.failed id=%s", current_exchange().request_id, exc_info=error)
        return _refusal(unexpected_error())


def _refusal(error: ServiceError) -> Response:
    exchange = current_exchange()
    exchange.code = error.code.value
    body = error_body(error, exchange.request_id, openai=exchange.is_openai)
    response = json_response(body, STATUS[error.code])
    if error.code is ErrorCode.INVALID_API_KEY:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return response


class _PlainPaths:
    """A WSGI application that sees `/v1/models` where `//v1/models/` was asked for.

    Base addresses are often joined with a slash too many.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["PATH_INFO"] = _SLASHES.sub("/", environ.get("PATH_INFO", "")).rstrip("/") or "/"
        return self._application(environ, start_response)
