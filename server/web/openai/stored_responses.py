"""GET and DELETE /v1/responses/{response_id}: an answer as it is stored, with what it was asked."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from flask import Blueprint, Response, request
from msgspec import Meta

from server.chat.records.session_ids import check_session_id
from server.chat.records.turn_records import Turn, TurnResult
from server.errors import ErrorCode, ServiceError
from server.web.call.front import Front, current_exchange, store_of, work_blueprint
from server.web.describe.operation import JSON, Operation, in_path
from server.web.limits.table import MAX_NAME_CHARS
from server.web.openai.responses_schema import (
    InputItemList,
    InputMessage,
    InputText,
    ResponseBody,
    ResponseDeleted,
)
from server.web.openai.responses_stream import whole_response
from server.web.reading.body import json_response
from server.web.reading.struct_reader import printable_value

_ID = re.compile(r"resp_(?P<session>.+)_(?P<turn>[0-9]{1,9})")
_IN_PATH = in_path("response_id", Annotated[str, Meta(max_length=MAX_NAME_CHARS)], "An answer that was stored.")
_ERRORS = (400, 404, 429, 503)

OPERATIONS = (
    Operation(
        "get", "/v1/responses/{response_id}", "An answer again.", gives={JSON: [ResponseBody]}, parameters=[_IN_PATH],
        errors=_ERRORS,
    ),
    Operation(
        "delete", "/v1/responses/{response_id}", "Erase an answer and its question.", gives={JSON: [ResponseDeleted]},
        parameters=[_IN_PATH], errors=(*_ERRORS, 409),
    ),
    Operation(
        "get", "/v1/responses/{response_id}/input_items", "What an answer was asked.", gives={JSON: [InputItemList]},
        parameters=[_IN_PATH], errors=_ERRORS,
    ),
)  # fmt: skip


class ResponseId(NamedTuple):
    """Which turn of which session an answer is."""

    session_id: str
    turn: int

    def __str__(self) -> str:
        """As clients know it."""
        return f"resp_{self.session_id}_{self.turn}"


def read_id(given: str, field: str) -> ResponseId:
    """The id that a client gives in `field`. Raises ServiceError SESSION_NOT_FOUND for what is none of ours."""
    found = _ID.fullmatch(given)
    if found is None:
        raise no_such_response(given, field)
    return ResponseId(check_session_id(found["session"], field), int(found["turn"]))


def no_such_response(given: str, field: str) -> ServiceError:
    """The refusal of an id that nothing is stored under."""
    message = f"{field}={printable_value(given)}: no such response, or it has expired"
    return ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field=field)


def blueprint(front: Front) -> Blueprint:
    """The routes over `front`."""
    routes = work_blueprint("stored_responses", front)

    @routes.get("/v1/responses/<response_id>")
    def response(response_id: str) -> Response:
        _refuse_stream()
        named = _named(response_id)
        return json_response(_body(front, named, _stored(front, named)))

    @routes.delete("/v1/responses/<response_id>")
    def delete(response_id: str) -> Response:
        named = _named(response_id)
        if not store_of(front.services).delete_turn(*named):
            raise no_such_response(response_id, "response_id")
        return json_response(ResponseDeleted(response_id, "response", deleted=True))

    @routes.get("/v1/responses/<response_id>/input_items")
    def input_items(response_id: str) -> Response:
        text = InputText("input_text", _stored(front, _named(response_id)).user)
        item = InputMessage(f"msg_in_{response_id.removeprefix('resp_')}", "message", "user", content=(text,))
        return json_response(InputItemList("list", (item,), item.id, last_id=item.id))

    return routes


def _named(response_id: str) -> ResponseId:
    return read_id(response_id, "response_id")


def _refuse_stream() -> None:
    """An answer that is there is not made again."""
    if request.args.get("stream", "false").lower() != "false":
        message = "stream=true is not supported for an answer that is stored; leave it out"
        raise ServiceError(ErrorCode.UNSUPPORTED_FIELD, message, field="stream")


def _stored(front: Front, response_id: ResponseId) -> Turn:
    turn = store_of(front.services).turn(*response_id)
    if turn is None:
        raise no_such_response(str(response_id), "response_id")
    return turn


def _body(front: Front, response_id: ResponseId, turn: Turn) -> ResponseBody:
    """The answer as it was given, but for the wishes that came with its question, which are not stored."""
    before = turn.turn - 1 if turn.follows is None else turn.follows
    begun = ResponseBody(
        id=str(response_id),
        object="response",
        created_at=int(turn.created_at),
        status="in_progress",
        model=turn.model or front.services.settings.model_name,
        previous_response_id=str(ResponseId(response_id.session_id, before)) if before else None,
        instructions=turn.system or None,
    )
    request_id = current_exchange().request_id
    result = TurnResult(
        request_id=request_id,
        outputs=turn.reply,
        session_id=response_id.session_id,
        finish_reason=turn.finish_reason,
        sources=turn.sources,
        usage=turn.usage,
        turn=turn.turn,
        citations=turn.citations,
    )
    return whole_response(begun, result, request_id)
