"""One turn of a conversation, stored or under way: cancelled, erased, judged by its reader."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from flask import Blueprint, Request, Response, request
from msgspec import Meta

from server.chat.records.session_ids import check_session_id
from server.chat.records.turn_records import Feedback
from server.chat.services import Services
from server.errors import ErrorCode, ServiceError
from server.web.call.front import Front, allowed_owner, store_of, work_blueprint
from server.web.describe.operation import JSON, Operation, in_path
from server.web.limits.table import MAX_CANCEL_BYTES, MAX_FEEDBACK_CHARS, MAX_REQUEST_ID_CHARS
from server.web.reading.body import json_response, peek, read_json
from server.web.reading.struct_reader import invalid, read_struct
from server.web.sessions.schema import Owner, SessionId

TurnNumber = Annotated[int, Meta(ge=1, le=2**53, description="The turn's number in its conversation.")]
FeedbackText = Annotated[str, Meta(max_length=MAX_FEEDBACK_CHARS)]


class CancelAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End what is under way in a session, or of the HTTP call with this X-Request-Id; one of the two is named."""

    action: Literal["cancel"]
    session_id: SessionId | None = None
    request_id: Annotated[str, Meta(min_length=1, max_length=MAX_REQUEST_ID_CHARS)] | None = None
    owner: Owner | None = None


class DeleteTurnAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """DELETE /sessions/{session_id}/turns/{turn} for clients that reach /invocations alone."""

    action: Literal["delete_turn"]
    session_id: SessionId
    turn: TurnNumber
    owner: Owner | None = None


class GivenFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reader thought of a reply; a later one takes its place."""

    rating: Literal["up", "down"]
    text: FeedbackText = ""


class FeedbackAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /sessions/{session_id}/turns/{turn}/feedback for clients that reach /invocations alone."""

    action: Literal["feedback"]
    session_id: SessionId
    turn: TurnNumber
    rating: Literal["up", "down"]
    text: FeedbackText = ""
    owner: Owner | None = None


class Cancelled(msgspec.Struct, frozen=True):
    """How many turns were under way, and are no more. Nothing of them is stored."""

    cancelled: int


class TurnChanged(msgspec.Struct, frozen=True):
    """What was done is done, durably."""

    session_id: str
    turn: int
    done: Literal["deleted", "feedback"]


TurnAction = CancelAction | DeleteTurnAction | FeedbackAction
TURN_ACTIONS: dict[str, type[TurnAction]] = {
    "cancel": CancelAction,
    "delete_turn": DeleteTurnAction,
    "feedback": FeedbackAction,
}

_CANCEL = b'"cancel"'

_SESSION = in_path("session_id", SessionId, "The conversation.")
_TURN = in_path("turn", TurnNumber, "One of its turns.")
_ERRORS = (400, 404, 409, 429, 503)

OPERATIONS = (
    Operation(
        "post", "/sessions/{session_id}/cancel", "End what is under way in a conversation; it is free at once.",
        gives={JSON: [Cancelled]}, parameters=[_SESSION], errors=(400, 429, 503),
    ),
    Operation(
        "delete", "/sessions/{session_id}/turns/{turn}", "Erase one turn; the others stay.",
        gives={JSON: [TurnChanged]}, parameters=[_SESSION, _TURN], errors=_ERRORS,
    ),
    Operation(
        "post", "/sessions/{session_id}/turns/{turn}/feedback", "Say what you think of a reply.",
        takes=[GivenFeedback], gives={JSON: [TurnChanged]}, parameters=[_SESSION, _TURN],
        errors=(*_ERRORS, 413, 415),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The routes over `front`."""
    services = front.services
    routes = work_blueprint("turns", front, needs_no_place=lambda asked: asked.endpoint == "turns.cancel")

    @routes.post("/sessions/<session_id>/cancel")
    def cancel(session_id: str) -> Response:
        return act_on_turn(services, CancelAction("cancel", check_session_id(session_id, "session_id")))

    @routes.delete("/sessions/<session_id>/turns/<turn>")
    def delete_turn(session_id: str, turn: str) -> Response:
        return act_on_turn(services, DeleteTurnAction("delete_turn", _id(session_id), _number(turn)))

    @routes.post("/sessions/<session_id>/turns/<turn>/feedback")
    def feedback(session_id: str, turn: str) -> Response:
        given = read_struct(read_json(request, services.settings.max_body_bytes), GivenFeedback)
        action = FeedbackAction("feedback", _id(session_id), _number(turn), rating=given.rating, text=given.text)
        return act_on_turn(services, action)

    return routes


def is_cancel(asked: Request) -> bool:
    """Whether a call to /invocations ends turns and does nothing else, which makes room and so needs none."""
    length = asked.content_length
    if length is None or length > MAX_CANCEL_BYTES or _CANCEL not in (body := peek(asked)):
        return False
    try:
        msgspec.json.decode(body, type=CancelAction)
    except msgspec.DecodeError:
        return False
    return True


def act_on_turn(services: Services, action: TurnAction) -> Response:
    """Do it. Raises ServiceError SESSION_NOT_FOUND where there is no such turn."""
    if isinstance(action, CancelAction):
        if (action.session_id is None) == (action.request_id is None):
            message = "action='cancel' takes session_id or request_id, one of the two"
            raise ServiceError(ErrorCode.INVALID_FIELD, message, field="session_id")
        session_id = None if action.session_id is None else _id(action.session_id)
        owner = allowed_owner(action.owner)
        return json_response(Cancelled(services.turns.cancel(session_id, action.request_id, owner=owner)))
    store, session_id, turn = store_of(services, action.owner), _id(action.session_id), action.turn
    if isinstance(action, DeleteTurnAction):
        changed, found = TurnChanged(session_id, turn, "deleted"), store.delete_turn(session_id, turn)
    else:
        given = Feedback(action.rating, action.text)
        changed, found = (
            TurnChanged(session_id, turn, "feedback"),
            store.give_feedback(session_id, turn, given),
        )
    if not found:
        message = f"session_id={session_id!r}, turn={turn}: no such turn, or it has expired"
        raise ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field="turn")
    return json_response(changed)


def _id(session_id: str) -> str:
    return check_session_id(session_id, "session_id")


def _number(turn: str) -> int:
    if not turn.isascii() or not turn.isdigit() or len(turn) > 16 or int(turn) < 1:
        raise invalid("turn", turn, "must be a turn's number, 1 or more")
    return int(turn)
