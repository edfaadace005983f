"""POST /v1/chat/completions: OpenAI's schema. Stateless: the messages are the conversation, and nothing is stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from server.chat.records.turn_records import TurnRequest
from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import EVENT, JSON, REFUSED, Operation
from server.web.invocations.parameters import search_wish, searches
from server.web.invocations.stream_format import SSE
from server.web.invocations.turn_request import turn_request
from server.web.invocations.turn_stream import stream_turns
from server.web.openai.choices import answer_choices, choices
from server.web.openai.chunk_stream import ChatChunkFormat, Envelope
from server.web.openai.idle_fields import ASKS_FOR_NOTHING
from server.web.openai.messages import conversation
from server.web.openai.request import ChatRequest, read_chat_request
from server.web.openai.response import ChatCompletion, ChatCompletionChunk, completion
from server.web.reading.body import json_response, read_json

OPERATIONS = (
    Operation(
        "post", "/v1/chat/completions", "Continue a conversation that the request brings along.",
        takes=[ChatRequest], gives={JSON: [ChatCompletion], SSE: [ChatCompletionChunk, ErrorBody, EVENT]},
        errors=(*REFUSED, 404, 504), idle_fields={"ChatRequest": ASKS_FOR_NOTHING},
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("chat_completions", front)
    answer = chat_answerer(front)

    @routes.post("/v1/chat/completions")
    def chat_completions() -> Response:
        return answer(read_json(request, front.services.settings.max_body_bytes))

    return routes


def chat_answerer(front: Front) -> Callable[[dict[str, Any]], Response]:
    """What answers a chat request's body, wherever it was posted."""

    def answer(data: dict[str, Any]) -> Response:
        current_exchange().is_openai = True
        return _complete(front, read_chat_request(data, front.services))

    return answer


def _complete(front: Front, asked: ChatRequest) -> Response:
    exchange, model, created = current_exchange(), front.services.settings.model_name, int(time.time())
    turns = choices(_turn(front, asked), asked.n or 1)
    if asked.stream:
        envelope = Envelope(
            f"chatcmpl-{exchange.request_id}", model, created, num_choices=len(turns), with_usage=asked.with_usage,
            with_usage_so_far=asked.with_usage_so_far,
        )  # fmt: skip
        return stream_turns(front, exchange, turns, stream_format=ChatChunkFormat(exchange.request_id, envelope))
    results = answer_choices(front, exchange, turns)
    return json_response(completion(results, exchange.request_id, model, created=created))


def _turn(front: Front, asked: ChatRequest) -> TurnRequest:
    said = conversation(asked.messages)
    return turn_request(
        front.services,
        current_exchange().turn_id(),
        said.text,
        parameters=asked.in_our_words(asked.wanted_tokens, front.services.max_context_tokens),
        streams=bool(asked.stream),
        sampled={"logprobs": asked.num_alternatives, "json_schema": asked.json_schema},
        history=said.history,
        system=said.system,
        begun=said.begun,
        retrieval=searches(asked.search_fields),
        search=search_wish(asked.search_fields),
        cite=bool(asked.cite),
    )
