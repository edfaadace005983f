"""GET and DELETE /sessions/{session_id}: a conversation's history, and its erasure."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from server.chat.records.session_ids import check_session_id
from server.chat.store.store import Store
from server.errors import ErrorCode, ServiceError
from server.web.call.front import Front, store_of, work_blueprint
from server.web.describe.operation import JSON, Operation, in_path, in_query
from server.web.limits.table import MAX_HISTORY_BYTES, MAX_HISTORY_TURNS
from server.web.reading.body import json_response
from server.web.reading.struct_reader import read_struct
from server.web.sessions.schema import (
    After,
    HistoryPage,
    Limit,
    Owner,
    OwnerOnly,
    SessionDeleted,
    SessionHistory,
    SessionId,
    StoredTurn,
    stored_turn,
)

_SESSION = in_path("session_id", SessionId, "The conversation.")
_PAGE = [  # the fields of `HistoryPage`
    in_query("after", After, "Absent: from the beginning."),
    in_query("limit", Limit, f"Absent: {MAX_HISTORY_TURNS}."),
]
OWNER = in_query("owner", Owner, "Whose, for operators.")
_ERRORS = (400, 404, 429, 503)

OPERATIONS = (
    Operation(
        "get", "/sessions/{session_id}", "A conversation, oldest turn first; next_after says when there is more.",
        gives={JSON: [SessionHistory]}, parameters=[_SESSION, *_PAGE, OWNER], errors=_ERRORS,
    ),
    Operation(
        "delete", "/sessions/{session_id}", "Erase a conversation.",
        gives={JSON: [SessionDeleted]}, parameters=[_SESSION, OWNER], errors=_ERRORS,
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The routes over `front`."""
    routes = work_blueprint("sessions", front)

    @routes.get("/sessions/<session_id>")
    def history(session_id: str) -> Response:
        page = read_struct(request.args.to_dict(), HistoryPage, strict=False)
        return session_history(store_of(front.services, page.owner), session_id, page)

    @routes.delete("/sessions/<session_id>")
    def delete(session_id: str) -> Response:
        asked = read_struct(request.args.to_dict(), OwnerOnly)
        return delete_session(store_of(front.services, asked.owner), session_id)

    return routes


def session_history(store: Store, session_id: str, page: HistoryPage) -> Response:
    """Part of a conversation. Raises ServiceError SESSION_NOT_FOUND."""
    found = _read(store, check_session_id(session_id, "session_id"), page)
    if not found.turns and store.load(session_id, max_turns=1) is None:
        raise _not_found(session_id)
    return json_response(found)


def _read(store: Store, session_id: str, page: HistoryPage) -> SessionHistory:
    """As many turns as the page and an answer's size allow, but at least one where there is one."""
    turns: list[StoredTurn] = []
    num_bytes = 0
    for turn in map(stored_turn, store.history(session_id, page.after)):
        num_bytes += len(msgspec.json.encode(turn))
        if turns and (len(turns) == page.limit or num_bytes > MAX_HISTORY_BYTES):
            return SessionHistory(session_id, tuple(turns), next_after=turns[-1].turn)
        turns.append(turn)
    return SessionHistory(session_id, tuple(turns))


def delete_session(store: Store, session_id: str) -> Response:
    """Erase a conversation. Raises ServiceError SESSION_NOT_FOUND."""
    if not store.delete(check_session_id(session_id, "session_id")):
        raise _not_found(session_id)
    return json_response(SessionDeleted(session_id, deleted=True))


def _not_found(session_id: str) -> ServiceError:
    message = f"session_id={session_id!r}: no such session, or it has expired"
    return ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field="session_id")
