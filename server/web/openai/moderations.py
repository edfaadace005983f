"""POST /v1/moderations: texts judged by the server's policy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, request

from server.chat.text.normal import hidden_text, normalise
from server.chat.text.visible import is_blank
from server.errors import ErrorCode, ServiceError
from server.web.call.exchange import CHARS_OF_TOKEN
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import JSON, REFUSED, Operation
from server.web.limits import table
from server.web.openai.idle_fields import without_idle_fields
from server.web.openai.moderation_schema import ModerationRequest, ModerationResponse, moderation_result
from server.web.openai.request import check_model
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct

# What clients send that name no model of their own: there is one policy, and it judges whatever it is called.
_OPENAI_MODELS = ("omni-moderation-", "text-moderation-")

OPERATIONS = (
    Operation(
        "post", "/v1/moderations", "Judge texts by the server's policy.",
        takes=[ModerationRequest], gives={JSON: [ModerationResponse]}, errors=(*REFUSED, 404, 504),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("moderations", front, is_side=True)
    services = front.services
    lanes = threading.BoundedSemaphore(table.MODERATION_CALLS)

    @routes.post("/v1/moderations")
    def moderations() -> Response:
        data = read_json(request, services.settings.max_body_bytes)
        asked = read_struct(without_idle_fields(data), ModerationRequest)
        if services.moderator is None or services.policy is None:
            raise ServiceError(ErrorCode.NOT_FOUND, "moderation is off on this server")
        if not (asked.model or "").startswith(_OPENAI_MODELS):
            check_model(asked.model, services.policy.name)
        _check_texts(asked)
        with _lane(lanes):
            texts = [_judged_text(text) for text in asked.texts]
            exchange, deadline_s = current_exchange(), services.settings.request_deadline_s
            judgements = services.moderator.judge(texts, asked.role, deadline_s, caller=exchange.turn_taker)
        exchange.spend(sum(map(len, texts)) // CHARS_OF_TOKEN)
        for text, judgement in zip(texts, judgements, strict=True):
            front.metrics.judged(asked.role.value, judgement)
            services.moderator.note(exchange.request_id, asked.role, judgement, text)
        results = tuple(moderation_result(each) for each in judgements)
        return json_response(ModerationResponse(f"modr-{exchange.request_id}", services.policy.name, results))

    return routes


def _check_texts(asked: ModerationRequest) -> None:
    for field, text in zip(asked.fields, asked.texts, strict=True):
        if is_blank(text):
            raise invalid(field, text, "must hold visible text")
    num_chars = sum(map(len, asked.texts))
    if num_chars > table.MAX_MODERATION_CHARS:
        message = f"input has {num_chars} characters, at most {table.MAX_MODERATION_CHARS} are judged in one call"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field="input")


def _judged_text(text: str) -> str:
    """The text as a turn would take it, and what is hidden in it, which a turn leaves out."""
    return "\n".join(filter(None, (normalise(text), hidden_text(text))))


@contextmanager
def _lane(lanes: threading.BoundedSemaphore) -> Iterator[None]:
    """Take part in judging. Raises ServiceError QUEUE_FULL when the calls before this one take too long."""
    if not lanes.acquire(timeout=table.MODERATION_WAIT_S):
        message = f"{table.MODERATION_CALLS} calls of /v1/moderations are being judged, which is the limit"
        raise ServiceError(ErrorCode.QUEUE_FULL, message, retry_after_s=table.MODERATION_RETRY_AFTER_S)
    try:
        yield
    finally:
        lanes.release()
