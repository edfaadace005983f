"""POST /v1/responses: OpenAI's newer schema. An answer is a turn of a stored conversation, and its id names both."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from server.chat.records.session_ids import new_session_id
from server.chat.records.turn_records import Session, Turn, TurnRequest
from server.chat.store.store import next_turn
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, store_of, work_blueprint
from server.web.describe.operation import EVENT, JSON, REFUSED, Operation
from server.web.invocations.parameters import Parameters, check_window
from server.web.invocations.stream_format import SSE
from server.web.invocations.turn_request import turn_request
from server.web.invocations.turn_stream import stream_turns
from server.web.limits.table import MAX_HISTORY_TURNS
from server.web.openai.idle_fields import ASKS_FOR_NOTHING, without_idle_fields
from server.web.openai.message_schema import ChatMessage
from server.web.openai.messages import Conversation, conversation
from server.web.openai.request import check_model
from server.web.openai.response_format import ANY_OBJECT, schema_text
from server.web.openai.responses_schema import JsonObject, JsonSchema, ResponseBody, ResponseEvent, ResponsesRequest
from server.web.openai.responses_stream import ResponseFormat, whole_response
from server.web.openai.stored_responses import ResponseId, no_such_response, read_id
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct

OPERATIONS = (
    Operation(
        "post", "/v1/responses", "Answer a question, and remember it for the next.",
        takes=[ResponsesRequest], gives={JSON: [ResponseBody], SSE: [ResponseEvent, ErrorBody, EVENT]},
        errors=(*REFUSED, 404, 409, 504), idle_fields={"ResponsesRequest": ASKS_FOR_NOTHING},
    ),
)  # fmt: skip
_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(ResponsesRequest))
_IDLE: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "conversation": (),
    "include": ([],),  # when those of `_NEVER_THERE` are taken out
    "max_tool_calls": (),
    "prompt": (),
    "top_logprobs": (0,),
    "truncation": ("auto", "disabled"),
}

# Parts of items that no answer has: of what other models think, and of tools that are not called.
_NEVER_THERE = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("responses", front)

    @routes.post("/v1/responses")
    def responses() -> Response:
        asked = _read(front, read_json(request, front.services.settings.max_body_bytes))
        exchange = current_exchange()
        said = _said(asked)
        place = _place(front, asked, said)
        begun = _begun(front, asked, place)
        turn = _turn(front, asked, said, place=place)
        if asked.stream:
            return stream_turns(front, exchange, [turn], stream_format=ResponseFormat(begun, exchange.request_id))
        exchange.reserve([turn])
        result = front.services.turns.answer(turn, exchange.client_has_left)
        exchange.note_result(result)
        return json_response(whole_response(begun, result, exchange.request_id))

    return routes


def _read(front: Front, data: dict[str, Any]) -> ResponsesRequest:
    if isinstance(data.get("include"), list):
        data = {**data, "include": [each for each in data["include"] if each not in _NEVER_THERE]}
    kept = without_idle_fields(data, _FIELDS, _IDLE)
    kept.pop("type", None)
    asked = read_struct(kept, ResponsesRequest)
    check_model(asked.model, front.services.settings.model_name)
    check_window(asked.max_output_tokens, front.services, "max_output_tokens")
    return asked


@dataclass(frozen=True)
class _Place:
    """Which turn of which session the answer will be.

    Attributes:
        behind: the turn it goes on from, where it is stored; None for the first of a conversation.
        history: the conversation before it, where the answer is not stored; None where it is.
        system: the instructions that hold there.
    """

    response_id: ResponseId
    behind: int | None = None
    history: tuple[Turn, ...] | None = None
    system: str = ""


def _place(front: Front, asked: ResponsesRequest, said: Conversation) -> _Place:
    """A conversation that its client keeps is not stored, and so cannot be continued by id."""
    before = asked.previous_response_id
    if asked.store is False or said.history or said.begun:
        new_id = ResponseId(new_session_id(), 1)
        if before is not None:
            return _behind(front, before, said, new_id=new_id)
        return _Place(new_id, history=said.history)
    if before is None:
        return _Place(ResponseId(new_session_id(), 1))
    named, session = _stored_before(front, before, max_turns=1)
    return _Place(ResponseId(session.session_id, next_turn(session)), behind=named.turn)


def _behind(front: Front, before: str, said: Conversation, new_id: ResponseId) -> _Place:
    """Behind a stored answer, without a trace in its conversation."""
    named, session = _stored_before(front, before, max_turns=MAX_HISTORY_TURNS)
    more = (msgspec.structs.replace(turn, turn=named.turn + turn.turn) for turn in said.history)
    return _Place(new_id, history=(*session.turns, *more), system=session.system)


def _stored_before(front: Front, before: str, max_turns: int) -> tuple[ResponseId, Session]:
    named = read_id(before, "previous_response_id")
    session = store_of(front.services).load(named.session_id, max_turns=max_turns, behind=named.turn)
    if session is None or not session.turns:
        raise no_such_response(before, "previous_response_id")
    return named, session


def _turn(front: Front, asked: ResponsesRequest, said: Conversation, place: _Place) -> TurnRequest:
    return turn_request(
        front.services,
        current_exchange().turn_id(),
        said.text,
        parameters=Parameters(
            temperature=asked.temperature,
            top_p=asked.top_p,
            max_new_tokens=asked.max_output_tokens,
            no_retrieval=asked.no_retrieval,
        ),
        streams=bool(asked.stream),
        sampled={"json_schema": _json_schema(asked)},
        session_id=place.response_id.session_id if place.history is None else None,
        history=place.history,
        behind=place.behind,
        number=place.response_id.turn if place.history is None else None,
        system="\n".join(filter(None, [asked.instructions, said.system])) or place.system,
        begun=said.begun,
    )


def _said(asked: ResponsesRequest) -> Conversation:
    if isinstance(asked.input, str):
        return conversation([ChatMessage("user", asked.input)], "input")
    for index, item in enumerate(asked.input):
        if item.message is None and item.type != "reasoning":
            field = f"input[{index}].role"
            raise ServiceError(ErrorCode.INVALID_FIELD, f"{field} is missing", field=field)
    said = [item.message for item in asked.input if item.message is not None]
    if not said:
        raise invalid("input", asked.input, "one item must be the user's")
    return conversation(said, "input")


def _json_schema(asked: ResponsesRequest) -> str | None:
    wanted = None if asked.text is None else asked.text.format
    if isinstance(wanted, JsonSchema):
        return schema_text(wanted.schema, "text.format.schema")
    return ANY_OBJECT if isinstance(wanted, JsonObject) else None


def _begun(front: Front, asked: ResponsesRequest, place: _Place) -> ResponseBody:
    return ResponseBody(
        id=str(place.response_id),
        object="response",
        created_at=int(time.time()),
        status="in_progress",
        model=front.services.settings.model_name,
        previous_response_id=asked.previous_response_id,
        instructions=asked.instructions,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_output_tokens=asked.max_output_tokens,
        store=place.history is None,
    )
