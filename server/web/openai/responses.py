"""POST /v1/responses: OpenAI's newer schema. An answer is a turn of a stored conversation, and its id names both."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from server.chat.records.session_ids import check_session_id, new_session_id
from server.chat.records.turn_records import TurnRequest
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, store_of, work_blueprint
from server.web.describe.operation import EVENT, JSON, REFUSED, Operation
from server.web.invocations.parameters import Parameters, check_window
from server.web.invocations.stream_format import SSE
from server.web.invocations.turn_request import turn_request
from server.web.invocations.turn_stream import stream_turns
from server.web.openai.idle_fields import ASKS_FOR_NOTHING, without_idle_fields
from server.web.openai.message_schema import ChatMessage
from server.web.openai.messages import Conversation, conversation
from server.web.openai.request import check_model
from server.web.openai.response_format import ANY_OBJECT, schema_text
from server.web.openai.responses_schema import JsonObject, JsonSchema, ResponseBody, ResponseEvent, ResponsesRequest
from server.web.openai.responses_stream import ResponseFormat, whole_response
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, printable_value, read_struct

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
    "include": ([],),
    "max_tool_calls": (),
    "prompt": (),
    "top_logprobs": (0,),
    "truncation": ("auto", "disabled"),
}
_ID = re.compile(r"resp_(?P<session>.+)_(?P<turn>\d{1,9})")


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("responses", front)

    @routes.post("/v1/responses")
    def responses() -> Response:
        asked = _read(front, read_json(request, front.services.settings.max_body_bytes))
        exchange = current_exchange()
        session_id, turn_number = _place(front, asked)
        begun = _begun(front, asked, f"resp_{session_id}_{turn_number}")
        turn = _turn(front, asked, session_id)
        if asked.stream:
            return stream_turns(front, exchange, [turn], stream_format=ResponseFormat(begun, exchange.request_id))
        exchange.reserve([turn])
        result = front.services.turns.answer(turn, exchange.client_has_left)
        exchange.note_result(result)
        return json_response(whole_response(begun, result, exchange.request_id))

    return routes


def _read(front: Front, data: dict[str, Any]) -> ResponsesRequest:
    kept = without_idle_fields(data, _FIELDS, _IDLE)
    kept.pop("type", None)
    asked = read_struct(kept, ResponsesRequest)
    check_model(asked.model, front.services.settings.model_name)
    check_window(asked.max_output_tokens, front.services, "max_output_tokens")
    return asked


def _place(front: Front, asked: ResponsesRequest) -> tuple[str, int]:
    """The session that the answer belongs to, and which turn of it the answer will be."""
    before = asked.previous_response_id
    if before is None:
        return new_session_id(), 1
    named = _ID.fullmatch(before)
    session = None
    if named is not None:
        session = store_of(front.services).load(check_session_id(named["session"], "previous_response_id"), max_turns=1)
    if named is None or session is None or not session.turns:
        message = f"previous_response_id={printable_value(before)}: no such response, or it has expired"
        raise ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field="previous_response_id")
    newest = session.turns[-1].turn
    if int(named["turn"]) != newest:
        rule = f"only the newest response of a conversation can be continued, resp_{session.session_id}_{newest}"
        raise invalid("previous_response_id", before, rule)
    return session.session_id, newest + 1


def _turn(front: Front, asked: ResponsesRequest, session_id: str) -> TurnRequest:
    said = _said(asked)
    is_stored = _is_stored(asked, said)
    if not is_stored and asked.previous_response_id is not None:
        rule = "with previous_response_id, one new question that is stored; the conversation so far is known"
        raise invalid("input", asked.input, rule)
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
        session_id=session_id if is_stored else None,
        history=None if is_stored else said.history,
        system="\n".join(filter(None, [asked.instructions, said.system])),
        begun=said.begun,
    )


def _said(asked: ResponsesRequest) -> Conversation:
    given = asked.input
    return conversation([ChatMessage("user", given)] if isinstance(given, str) else given)


def _is_stored(asked: ResponsesRequest, said: Conversation) -> bool:
    """A conversation that its client keeps cannot be continued by id: it is not stored."""
    return asked.store is not False and not said.history and not said.begun


def _json_schema(asked: ResponsesRequest) -> str | None:
    wanted = None if asked.text is None else asked.text.format
    if isinstance(wanted, JsonSchema):
        return schema_text(wanted.schema, "text.format.schema")
    return ANY_OBJECT if isinstance(wanted, JsonObject) else None


def _begun(front: Front, asked: ResponsesRequest, response_id: str) -> ResponseBody:
    return ResponseBody(
        id=response_id,
        object="response",
        created_at=int(time.time()),
        status="in_progress",
        model=front.services.settings.model_name,
        previous_response_id=asked.previous_response_id,
        instructions=asked.instructions,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_output_tokens=asked.max_output_tokens,
        store=_is_stored(asked, _said(asked)),
    )
