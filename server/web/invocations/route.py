"""POST /invocations: questions, and on SageMaker's only path also what other routes do elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from server.chat.records.session_ids import MAX_CHARS, new_session_id
from server.chat.records.turn_records import TurnRequest
from server.chat.services import Services
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, store_of, work_blueprint
from server.web.describe.operation import EVENT, JSON, REFUSED, Operation, in_header
from server.web.invocations.batch import answer_all
from server.web.invocations.batch_transform import BATCH_STRATEGY, ExecutionParameters, answer_lines
from server.web.invocations.parameters import Parameters
from server.web.invocations.schema import (
    Answer,
    ChatBody,
    FailedInput,
    Invocation,
    Pieces,
    RequestType,
    SessionAction,
    invocation_body,
)
from server.web.invocations.session_headers import (
    CLOSED_SESSION_HEADER,
    CUSTOM_ATTRIBUTES_HEADER,
    NEW_SESSION,
    NEW_SESSION_HEADER,
    RETRY_KEY_HEADER,
    SESSION_HEADER,
    StickySession,
    agreed_session_id,
    answer_session_request,
    idempotency_key,
    session_request,
    sticky_session_id,
    with_new_session,
    with_session,
)
from server.web.invocations.stream_format import JSON_LINES, SSE, InvocationStreamFormat, asks_for_stream
from server.web.invocations.turn_request import checked_invocation, turn_request
from server.web.invocations.turn_stream import stream_turns
from server.web.reading.body import has_lines, json_response, read_json, read_lines
from server.web.reading.struct_reader import invalid, read_struct
from server.web.sessions.listing import ListAction, SessionPage, list_sessions
from server.web.sessions.route import delete_session, session_history
from server.web.sessions.schema import SESSION_ID_PATTERN, SessionDeleted, SessionHistory
from server.web.sessions.turns import (
    TURN_ACTIONS,
    CancelAction,
    Cancelled,
    DeleteTurnAction,
    FeedbackAction,
    TurnChanged,
    act_on_turn,
    is_cancel,
)

_STICKY = {"type": "string", "pattern": SESSION_ID_PATTERN, "maxLength": MAX_CHARS}

OPERATIONS = (
    Operation(
        "post", "/invocations",
        "Answer a question or a list of questions; open or close a sticky session; read or erase a conversation.",
        takes=[Invocation, SessionAction, ListAction, CancelAction, DeleteTurnAction, FeedbackAction, RequestType,
               ChatBody],
        gives={
            JSON: [Answer, {"type": "array", "items": [Answer, FailedInput]}, StickySession, SessionHistory,
                   SessionDeleted, SessionPage, Cancelled, TurnChanged, {"type": "object"}],
            JSON_LINES: [Pieces, Answer, ErrorBody],
            SSE: [Pieces, Answer, ErrorBody, EVENT],
        },
        parameters=[
            in_header(SESSION_HEADER, _STICKY, "SageMaker's sticky session, or NEW_SESSION."),
            in_header(RETRY_KEY_HEADER, {"type": "string"}, "A retry with the same key gets the turn that is stored."),
        ],
        headers=[CUSTOM_ATTRIBUTES_HEADER, NEW_SESSION_HEADER, CLOSED_SESSION_HEADER],
        errors=(*REFUSED, 404, 409, 504),
    ),
    Operation(
        "get", "/execution-parameters", "How SageMaker's batch transform should send records.",
        gives={JSON: [ExecutionParameters]},
    ),
)  # fmt: skip

Answerer = Callable[[dict[str, Any]], Response]


def blueprint(front: Front, others: Mapping[str, Answerer]) -> Blueprint:
    """The routes over `front`. A body with one of the fields that `others` name is answered by what is behind it."""
    routes = work_blueprint("invocations", front, needs_no_place=is_cancel)
    settings = front.services.settings

    @routes.post("/invocations")
    def invocations() -> Response:
        sticky = sticky_session_id(request)
        if has_lines(request):
            return answer_lines(front, read_lines(request, settings.max_body_bytes))
        data = read_json(request, settings.max_body_bytes)
        for field, answer in others.items():
            if field in data and "inputs" not in data:
                return answer(data)
        if (action := TURN_ACTIONS.get(str(data.get("action")))) is not None:
            return act_on_turn(front.services, read_struct(data, action))
        if data.get("action") == "list":
            return list_sessions(front, read_struct(data, ListAction))
        if "action" in data:
            return _act(front.services, read_struct(data, SessionAction))
        if (asked := session_request(data)) is not None:
            return answer_session_request(front.services, asked, sticky)
        return _invoke(front, checked_invocation(data, front.services), sticky)

    return routes


def batch_transform_blueprint(front: Front) -> Blueprint:
    """What SageMaker itself asks, which has no key."""
    routes = Blueprint("batch_transform", __name__)
    megabytes = max(1, front.services.settings.max_body_bytes // 2**20)

    @routes.get("/execution-parameters")
    def execution_parameters() -> Response:
        return json_response(ExecutionParameters(front.concurrency.limit, BATCH_STRATEGY, megabytes))

    return routes


def _act(services: Services, action: SessionAction) -> Response:
    store = store_of(services, action.owner)
    if action.action == "history":
        return session_history(store, action.session_id, action.page)
    for field in ("after", "limit"):
        if getattr(action, field) is not None:
            message = f"{field} is not supported with action='delete', which erases the whole conversation"
            raise ServiceError(ErrorCode.UNSUPPORTED_FIELD, message, field=field)
    return delete_session(store, action.session_id)


def _invoke(front: Front, invocation: Invocation, sticky: str | None) -> Response:
    parameters = invocation.parameters or Parameters()
    session_id = agreed_session_id(parameters.session_id, sticky)
    streams = asks_for_stream(request, invocation.stream)
    if not isinstance(invocation.inputs, str):
        _check_list(streams, session_id or sticky)
        return _answer_list(front, invocation.inputs, parameters)
    key = idempotency_key(request, invocation.inputs)
    turn = turn_request(
        front.services, current_exchange().turn_id(), invocation.inputs, parameters=parameters,
        session_id=session_id or (None if sticky else key.new_session_id), streams=streams, key=key.digest,
        replaces=parameters.replace_turn, system=parameters.system or "",
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
        turn_request(front.services, exchange.turn_id(index), text, parameters=parameters)
        for index, text in enumerate(texts)
    ]
    return json_response(answer_all(front, exchange, turns))


def _answer_one(front: Front, turn: TurnRequest, streams: bool) -> Response:
    exchange = current_exchange()
    if streams:
        turn = turn if turn.session_id else _with_early_id(front.services, turn)
        stream_format = InvocationStreamFormat.for_request(request, exchange.request_id)
        return with_session(stream_turns(front, exchange, [turn], stream_format=stream_format), str(turn.session_id))
    exchange.reserve([turn])
    result = front.services.turns.answer(turn, exchange.client_has_left)
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
    return msgspec.structs.replace(turn, session_id=store_of(services).create(new_session_id()).session_id)
