"""POST /v1/chat/completions: OpenAI's schema. Stateless: the messages are the conversation, and nothing is stored."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import JSON, REFUSED, Operation
from server.web.invocations.stream_format import SSE
from server.web.invocations.turn_request import turn_request
from server.web.invocations.turn_stream import stream_turn
from server.web.openai.chunk_stream import ChatChunkFormat
from server.web.openai.messages import conversation
from server.web.openai.request import ASKS_FOR_NOTHING, ChatRequest, check_model, read_chat_request
from server.web.openai.response import ChatCompletion, ChatCompletionChunk, completion
from server.web.reading.body import json_response, read_json

OPERATIONS = (
    Operation(
        "post", "/v1/chat/completions", "Continue a conversation that the request brings along.",
        takes=[ChatRequest], gives={JSON: [ChatCompletion], SSE: [ChatCompletionChunk, ErrorBody]},
        errors=(*REFUSED, 404, 504), idle_fields={"ChatRequest": ASKS_FOR_NOTHING},
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("chat_completions", front)
    services = front.services

    @routes.post("/v1/chat/completions")
    def chat_completions() -> Response:
        data = read_json(request, services.settings.max_body_bytes)
        asked = read_chat_request(data, services.max_context_tokens)
        check_model(asked.model, services.settings.model_name)
        return _complete(front, asked)

    return routes


def _complete(front: Front, asked: ChatRequest) -> Response:
    exchange, model, created = current_exchange(), front.services.settings.model_name, int(time.time())
    said = conversation(asked.messages)
    turn = turn_request(
        front.services,
        exchange.turn_id(),
        said.text,
        asked.parameters,
        streams=bool(asked.stream),
        history=said.history,
        system=said.system,
    )
    if asked.stream:
        with_usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        return stream_turn(front, exchange, turn, ChatChunkFormat(exchange.request_id, model, created, with_usage))
    result = front.services.turns.answer(turn)
    exchange.note_result(result)
    return json_response(completion(result, exchange.request_id, model, created))
