"""GET /sessions and the exports: what a key's owner has said, as a list, by words, and as a file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Literal

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta

from server.chat.records.session_ids import check_session_id
from server.chat.records.turn_records import SessionSummary, Turn
from server.chat.store.store import Store
from server.chat.text.normal import normalise
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import ErrorBody, error_body
from server.web.call.front import Front, current_exchange, store_of, work_blueprint
from server.web.describe.operation import JSON, Operation, in_path, in_query
from server.web.limits.table import MAX_LIST_WORDS_CHARS, MAX_LISTED_SESSIONS, MAX_SEARCHED_TURNS
from server.web.reading.body import json_response
from server.web.reading.struct_reader import read_struct
from server.web.sessions.schema import Owner, OwnerOnly, SessionId, StoredTurn, stored_turn

JSON_LINES = "application/jsonlines"
_NOBODYS = "conversations have owners only where OCK_API_KEYS is set; without keys, whoever knows an id reads by that"

Before = Annotated[
    str, Meta(pattern=r"^[0-9]{1,19}\Z", description="Only what is older: the last answer's next, to go on.")
]
ListLimit = Annotated[int, Meta(ge=1, le=MAX_LISTED_SESSIONS, description="At most this many in one answer.")]
Words = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_LIST_WORDS_CHARS,
        description="Only conversations with a turn that has all of them.",
    ),
]


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which of one's conversations are asked for."""

    before: Before | None = None
    limit: ListLimit = 20
    q: Words | None = None
    owner: Owner | None = None


class ListAction(ListQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """GET /sessions for clients that reach /invocations alone."""

    action: Literal["list"]


class ListedSession(msgspec.Struct, frozen=True):
    """One conversation; its title is the beginning of its first question."""

    session_id: str
    title: str
    created_at: float  # seconds since the epoch
    updated_at: float
    turns: int


class SessionPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Conversations, the newest first. `next` is there when there may be more; ask again with it as `before`."""

    sessions: tuple[ListedSession, ...]
    next: str | None = None


class ExportedTurn(StoredTurn, frozen=True, kw_only=True):
    """One line of an export."""

    session_id: str
    model: str
    index_version: str


_OWNER = in_query("owner", Owner, "Whose, for operators.")
_ERRORS = (400, 429, 503)

OPERATIONS = (
    Operation(
        "get", "/sessions", "One's own conversations, the newest first; next says when there is more.",
        gives={JSON: [SessionPage]}, errors=_ERRORS,
        parameters=[
            in_query("before", Before, "Absent: from the newest."),
            in_query("limit", ListLimit, "Absent: 20."),
            in_query("q", Words, "Absent: all."),
            _OWNER,
        ],
    ),
    Operation(
        "get", "/sessions/{session_id}/export", "A conversation as JSON lines, one turn a line, the oldest first.",
        gives={JSON_LINES: [ExportedTurn, ErrorBody]}, parameters=[in_path("session_id", SessionId, "It."), _OWNER],
        errors=(*_ERRORS, 404),
    ),
    Operation(
        "get", "/export", "All of one's own conversations as JSON lines, one turn a line.",
        gives={JSON_LINES: [ExportedTurn, ErrorBody]}, parameters=[_OWNER], errors=_ERRORS,
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The routes over `front`."""
    routes = work_blueprint("listing", front)

    @routes.get("/sessions")
    def sessions() -> Response:
        return list_sessions(front, read_struct(request.args.to_dict(), ListQuery, strict=False))

    @routes.get("/sessions/<session_id>/export")
    def export_one(session_id: str) -> Response:
        store = store_of(front.services, _owner_asked())
        if store.load(check_session_id(session_id, "session_id"), max_turns=1) is None:
            message = f"session_id={session_id!r}: no such session, or it has expired"
            raise ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field="session_id")
        return _lines(_turns(store, session_id))

    @routes.get("/export")
    def export_all() -> Response:
        _check_owned(front)
        store = store_of(front.services, _owner_asked())
        return _lines(line for each in store.sessions() for line in _turns(store, each.session_id))

    return routes


def list_sessions(front: Front, asked: ListQuery) -> Response:
    """A page of conversations. Raises ServiceError FORBIDDEN where there are no keys, or for another's."""
    _check_owned(front)
    store = store_of(front.services, asked.owner)
    words = tuple(normalise(asked.q or "").casefold().split())
    return json_response(_page(store, asked, words))


def _check_owned(front: Front) -> None:
    if not front.doorkeeper.asks_for_keys:
        raise ServiceError(ErrorCode.FORBIDDEN, _NOBODYS)


def _owner_asked() -> str | None:
    return read_struct(request.args.to_dict(), OwnerOnly).owner


def _page(store: Store, asked: ListQuery, words: tuple[str, ...]) -> SessionPage:
    """As many as fit the page, and as a search may look through; one turn is looked at whatever it costs."""
    found: list[ListedSession] = []
    num_looked, last = 0, None
    for each in store.sessions(None if asked.before is None else int(asked.before)):
        if len(found) == asked.limit or num_looked >= MAX_SEARCHED_TURNS:
            return SessionPage(tuple(found), str(last))
        num_looked += each.num_turns if words else 0
        if not words or _has(store, each.session_id, words):
            found.append(_listed(each))
        last = each.place
    return SessionPage(tuple(found))


def _has(store: Store, session_id: str, words: tuple[str, ...]) -> bool:
    for turn in store.history(session_id):
        text = f"{turn.user}\n{turn.reply}".casefold()
        if all(word in text for word in words):
            return True
    return False


def _listed(each: SessionSummary) -> ListedSession:
    return ListedSession(
        each.session_id, each.title, created_at=each.created_at, updated_at=each.updated_at, turns=each.num_turns
    )


def _turns(store: Store, session_id: str) -> Iterator[bytes]:
    return (_line(session_id, turn) for turn in store.history(session_id))


def _line(session_id: str, turn: Turn) -> bytes:
    shown = stored_turn(turn)
    fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
    exported = ExportedTurn(**fields, session_id=session_id, model=turn.model, index_version=turn.index_version)
    return msgspec.json.encode(exported) + b"\n"


def _lines(lines: Iterator[bytes]) -> Response:
    """Streamed as the client takes them; a store that fails in the middle ends it with an error's line."""
    first = next(lines, b"")  # a store that fails before is an error of the call
    return Response(chain([first], _guarded(lines, current_exchange().request_id)), content_type=JSON_LINES)


def _guarded(lines: Iterator[bytes], request_id: str) -> Iterator[bytes]:
    try:
        yield from lines
    except ServiceError as error:
        yield msgspec.json.encode(error_body(error, request_id)) + b"\n"
