"""GET and DELETE /sessions/{session_id}: a conversation's history, and its erasure."""

from __future__ import annotations

from flask import Blueprint, Response

from server.chat.session_ids import check_session_id
from server.errors import ErrorCode, ServiceError
from server.web.body import json_response
from server.web.front import Front, work_blueprint
from server.web.services import Store
from server.web.session_schema import SessionDeleted, SessionHistory, stored_turn


def blueprint(front: Front) -> Blueprint:
    """The routes over `front`."""
    routes = work_blueprint("sessions", front)

    @routes.get("/sessions/<session_id>")
    def history(session_id: str) -> Response:
        return session_history(front.services.store, session_id)

    @routes.delete("/sessions/<session_id>")
    def delete(session_id: str) -> Response:
        return delete_session(front.services.store, session_id)

    return routes


def session_history(store: Store, session_id: str) -> Response:
    """Every turn of a conversation. Raises ServiceError SESSION_NOT_FOUND."""
    turns = tuple(stored_turn(turn) for turn in store.history(check_session_id(session_id, "session_id")))
    if not turns and store.load(session_id, max_turns=1) is None:
        raise _not_found(session_id)
    return json_response(SessionHistory(session_id, turns))


def delete_session(store: Store, session_id: str) -> Response:
    """Erase a conversation. Raises ServiceError SESSION_NOT_FOUND."""
    if not store.delete(check_session_id(session_id, "session_id")):
        raise _not_found(session_id)
    return json_response(SessionDeleted(session_id, deleted=True))


def _not_found(session_id: str) -> ServiceError:
    message = f"session_id={session_id!r}: no such session, or it has expired"
    return ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field="session_id")
