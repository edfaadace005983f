"""POST /invocations: questions, and on SageMaker's only path also what other routes do elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, request

from server.chat.records.session_ids import MAX_CHARS, new_session_id
from server.chat.records.turn_records import TurnRequest
from server.chat.services import Services
from server.chat.text.visible import is_blank
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import JSON, REFUSED, Operation, in_header
from server.web.invocations.batch import answer_all
from server.web.invocations.parameters import Parameters, check_window
from server.web.invocations.schema import (
    Answer,
    FailedInput,
    Invocation,
    Pieces,
    RequestType,
    SessionAction,
    invocation_body,
)
from server.web.invocations.sticky import (
    CLOSED_SESSION_HEADER,
    CUSTOM_ATTRIBUTES_HEADER,
    NEW_SESSION,
    NEW_SESSION_HEADER,
    SESSION_HEADER,
    StickySession,
    agreed_session_id,
    answer_session_request,
    session_request,
    sticky_session_id,
    with_new_session,
    with_session,
)
from server.web.invocations.stream_format import JSON_LINES, SSE, InvocationStreamFormat, asks_for_stream
from server.web.invocations.turn_request import turn_request
from server.web.invocations.turn_stream import stream_turn
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct
from server.web.sessions.route import delete_session, session_history
from server.web.sessions.schema import SESSION_ID_PATTERN, SessionDeleted, SessionHistory

_STICKY = {"type": "string", "pattern": SESSION_ID_PATTERN, "maxLength": MAX_CHARS}

OPERATIONS = (
    Operation(
        "post", "/invocations",
        "Answer a question or a list of questions; open or close a sticky session; read or erase a conversation.",
        takes=[Invocation, SessionAction, RequestType],
        gives={
            JSON: [Answer, {"type": "array", "items": [Answer, FailedInput]}, StickySession, SessionHistory,
                   SessionDeleted],
            JSON_LINES: [Pieces, Answer, ErrorBody],
            SSE: [Pieces, Answer, ErrorBody],
        },
        parameters=[in_header(SESSION_HEADER, _STICKY, "SageMaker's sticky session, or NEW_SESSION.")],
        headers=[CUSTOM_ATTRIBUTES_HEADER, NEW_SESSION_HEADER, CLOSED_SESSION_HEADER],
        errors=(*REFUSED, 404, 409, 504),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("invocations", front)

    @routes.post("/invocations")
    def invocations() -> Response:
        data = read_json(request, front.services.settings.max_body_bytes)
        if "action" in data:
            return _act(front.services, read_struct(data, SessionAction))
        if (asked := session_request(data)) is not None:
            return answer_session_request(front.services, asked, sticky_session_id(request))
        return _invoke(front, _checked(data, front.services))

    return routes


def _act(services: Services, action: SessionAction) -> Response:
    if action.action == "history":
        return session_history(services.store, action.session_id, action.page)
    for field in ("after", "limit"):
        if getattr(action, field) is not None:
            message = f"{field} is not supported with action='delete', which erases the whole conversation"
            raise ServiceError(ErrorCode.UNSUPPORTED_FIELD, message, field=field)
    return delete_session(services.store, action.session_id)


def _checked(data: dict[str, Any], services: Services) -> Invocation:
    """Everything that can be refused without looking at the conversation."""
    invocation = read_struct(data, Invocation)
    texts = [invocation.inputs] if isinstance(invocation.inputs, str) else invocation.inputs
    for index, text in enumerate(texts):
        if is_blank(text):
            field = "inputs" if isinstance(invocation.inputs, str) else f"inputs[{index}]"
            raise invalid(field, text, "must hold visible text")
    if invocation.parameters is not None:
        check_window(invocation.parameters.max_new_tokens, services.max_context_tokens, "parameters.max_new_tokens")
    return invocation


def _invoke(front: Front, invocation: Invocation) -> Response:
    parameters = invocation.parameters or Parameters()
    sticky = sticky_session_id(request)
    session_id = agreed_session_id(parameters.session_id, sticky)
    streams = asks_for_stream(request, invocation.stream)
    if not isinstance(invocation.inputs, str):
        _check_list(streams, session_id or sticky)
        return _answer_list(front, invocation.inputs, parameters)
    turn = turn_request(
        front.services, current_exchange().turn_id(), invocation.inputs, parameters,
        session_id=session_id, streams=streams,
    )  # fmt: skip
    if sticky != NEW_SESSION:
        return _answer_one(front, turn, streams)
    turn = turn if session_id else _in_new_session(front.services, turn)
    response = _answer_one(front, turn, streams)
    return with_new_session(response, str(turn.session_id), front.services.settings.session_ttl_s)


def _check_list(streams: bool, session: str | None) -> None:
    if streams:
        message = "stream=True is not supported for a list of inputs; send them one by one, or without stream"
        raise ServiceError(ErrorCode.UNSUPPORTED_FIELD, message, field="stream")
    if session is not None:
        rule = "a list of inputs starts a conversation for each; send no session"
        raise invalid("parameters.session_id", session, rule)


def _answer_list(front: Front, texts: list[str], parameters: Parameters) -> Response:
    exchange = current_exchange()
    turns = [
        turn_request(front.services, exchange.turn_id(index), text, parameters) for index, text in enumerate(texts)
    ]
    return json_response(answer_all(front, exchange, turns))


def _answer_one(front: Front, turn: TurnRequest, streams: bool) -> Response:
    exchange = current_exchange()
    if streams:
        turn = turn if turn.session_id else _with_early_id(front.services, turn)
        stream_format = InvocationStreamFormat.for_request(request, exchange.request_id)
        return with_session(stream_turn(front, exchange, turn, stream_format), str(turn.session_id))
    result = front.services.turns.answer(turn)
    exchange.note_result(result)
    return with_session(json_response(invocation_body(result, exchange.request_id)), result.session_id)


def _with_early_id(services: Services, turn: TurnRequest) -> TurnRequest:
    """`turn` with an id for a header that goes out before the turn could make one."""
    if services.settings.require_session:
        return _in_new_session(services, turn)
    return msgspec.structs.replace(turn, session_id=new_session_id())


def _in_new_session(services: Services, turn: TurnRequest) -> TurnRequest:
    """`turn` in a session made for it; a question that is refused leaves none behind."""
    services.turns.check(turn)
    return msgspec.structs.replace(turn, session_id=services.store.create(new_session_id()).session_id)
