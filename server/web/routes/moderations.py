"""POST /v1/moderations: texts judged by the server's policy."""

from __future__ import annotations

from flask import Blueprint, Response, request

from server.chat.visible import is_blank
from server.errors import ErrorCode, ServiceError
from server.web.body import json_response, read_json
from server.web.front import Front, current_exchange, work_blueprint
from server.web.moderation_schema import ModerationRequest, ModerationResponse, moderation_result
from server.web.openai_request import check_model
from server.web.struct_reader import invalid, read_struct


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("moderations", front)
    services = front.services

    @routes.post("/v1/moderations")
    def moderations() -> Response:
        asked = read_struct(read_json(request, services.settings.max_body_bytes), ModerationRequest)
        if services.moderator is None or services.policy is None:
            raise ServiceError(ErrorCode.NOT_FOUND, "moderation is off on this server")
        check_model(asked.model, services.policy.name)
        _check_texts(asked)
        judgements = services.moderator.judge(asked.texts, asked.role, services.settings.request_deadline_s)
        for judgement in judgements:
            front.metrics.judged(asked.role.value, judgement)
        results = tuple(moderation_result(each) for each in judgements)
        request_id = current_exchange().request_id
        return json_response(ModerationResponse(f"modr-{request_id}", services.policy.name, results))

    return routes


def _check_texts(asked: ModerationRequest) -> None:
    for field, text in zip(asked.fields, asked.texts, strict=True):
        if is_blank(text):
            raise invalid(field, text, "must hold visible text")
