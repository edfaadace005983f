"""Every route with what it takes and gives: the table that /openapi.json is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from server.chat.records.session_ids import MAX_CHARS
from server.web.call.errors import ErrorBody
from server.web.invocations.parameters import SESSION_ID_PATTERN, SessionId
from server.web.invocations.schema import Answer, FailedInput, Invocation, Pieces, RequestType, SessionAction
from server.web.invocations.sticky_headers import CLOSED_SESSION_HEADER, NEW_SESSION_HEADER, SESSION_HEADER
from server.web.invocations.sticky_route import StickySession
from server.web.invocations.sticky_session import CUSTOM_ATTRIBUTES_HEADER
from server.web.invocations.stream_format import JSON_LINES, SSE
from server.web.openai.moderation_schema import ModerationRequest, ModerationResponse
from server.web.openai.request import ChatRequest
from server.web.openai.response import ChatCompletion, ChatCompletionChunk, Model, ModelList
from server.web.operations.ping import PingDetail
from server.web.page.route import PAGE_FILES
from server.web.search.schema import SearchQuery, SearchResults
from server.web.sessions.schema import MAX_TURNS, After, Limit, SessionDeleted, SessionHistory

JSON = "application/json"
_REFUSED = (400, 413, 415, 429, 503)
_TEXT = {"type": "string"}
_STICKY = {"type": "string", "pattern": SESSION_ID_PATTERN, "maxLength": MAX_CHARS}


@dataclass(frozen=True)
class Operation:
    """One method of one path. Several types stand for any one of them; a dict is a schema of its own."""

    method: str
    path: str
    summary: str
    gives: dict[str, Sequence[Any]] = field(default_factory=dict)  # media type: what it may hold
    takes: Sequence[Any] = ()
    parameters: Sequence[dict[str, Any]] = ()
    headers: Sequence[str] = ()
    errors: Sequence[int] = ()
    also: dict[int, Any] = field(default_factory=dict)  # other statuses with a body of their own


def operations() -> list[Operation]:
    """All of them."""
    return [*_health(), _invocations(), *_openai(), *_rest(), *_page()]


def _parameter(name: str, place: str, schema: Any, description: str, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema, "description": description}


def _health() -> list[Operation]:
    detail = _parameter("detail", "query", {"type": "string"}, "Anything but empty: say more, as JSON.")
    return [
        Operation(
            "get", "/ping", "Whether this container can answer; 200 after a forward pass ran on every rank.",
            gives={"text/plain": [{"const": ""}], JSON: [PingDetail]}, parameters=[detail],
            also={503: [ErrorBody, PingDetail]},
        ),
        Operation("get", "/metrics", "Prometheus metrics.", gives={"text/plain": [_TEXT]}),
        Operation("get", "/openapi.json", "This document.", gives={JSON: [{"type": "object"}]}),
    ]  # fmt: skip


def _invocations() -> Operation:
    sticky = _parameter(SESSION_HEADER, "header", _STICKY, "SageMaker's sticky session, or NEW_SESSION.")
    outcomes = {"type": "array", "items": [Answer, FailedInput]}
    return Operation(
        "post", "/invocations",
        "Answer a question or a list of questions; open or close a sticky session; read or erase a conversation.",
        takes=[Invocation, SessionAction, RequestType],
        gives={
            JSON: [Answer, outcomes, StickySession, SessionHistory, SessionDeleted],
            JSON_LINES: [Pieces, Answer, ErrorBody],
            SSE: [Pieces, Answer, ErrorBody],
        },
        parameters=[sticky],
        headers=[CUSTOM_ATTRIBUTES_HEADER, NEW_SESSION_HEADER, CLOSED_SESSION_HEADER],
        errors=(*_REFUSED, 404, 409, 504),
    )  # fmt: skip


def _openai() -> list[Operation]:
    model = _parameter("model", "path", {"type": "string"}, "The model's name.", required=True)
    return [
        Operation(
            "post", "/v1/chat/completions", "Continue a conversation that the request brings along.",
            takes=[ChatRequest], gives={JSON: [ChatCompletion], SSE: [ChatCompletionChunk, ErrorBody]},
            errors=(*_REFUSED, 404, 504),
        ),
        Operation(
            "post", "/v1/moderations", "Judge texts by the server's policy.",
            takes=[ModerationRequest], gives={JSON: [ModerationResponse]}, errors=(*_REFUSED, 404, 504),
        ),
        Operation("get", "/v1/models", "The model that is served.", gives={JSON: [ModelList]}),
        Operation(
            "get", "/v1/models/{model}", "The model, if it is served.",
            gives={JSON: [Model]}, parameters=[model], errors=(404,),
        ),
    ]  # fmt: skip


def _rest() -> list[Operation]:
    session = _parameter("session_id", "path", SessionId, "The conversation.", required=True)
    errors = (400, 404, 429, 503)
    return [
        Operation(
            "post", "/search", "Passages for a question.",
            takes=[SearchQuery], gives={JSON: [SearchResults]}, errors=(*_REFUSED, 404),
        ),
        Operation(
            "get", "/sessions/{session_id}", "A conversation, oldest turn first; next_after says when there is more.",
            gives={JSON: [SessionHistory]}, parameters=[session, *_page_parameters()], errors=errors,
        ),
        Operation(
            "delete", "/sessions/{session_id}", "Erase a conversation.",
            gives={JSON: [SessionDeleted]}, parameters=[session], errors=errors,
        ),
    ]  # fmt: skip


def _page_parameters() -> list[dict[str, Any]]:
    """The fields of `HistoryPage`, in a query string."""
    described = [("after", After, "Absent: from the beginning."), ("limit", Limit, f"Absent: {MAX_TURNS}.")]
    return [_parameter(name, "query", schema, text) for name, schema, text in described]


def _page() -> list[Operation]:
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    return [
        Operation("get", path, "The chat page.", gives={types[name.rpartition(".")[2]]: [_TEXT]})
        for path, name in PAGE_FILES.items()
    ]
