"""POST /search: the passages that a question would be answered from."""

from __future__ import annotations

import logging
from typing import Annotated

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta

from server.chat.moderation.policy import Role
from server.chat.moderation.remembered import PassageVerdicts
from server.chat.records.turn_records import Source
from server.chat.text.normal import normalise
from server.chat.text.visible import is_blank
from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, RetrievalError, Retriever
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import JSON, REFUSED, Operation
from server.web.limits.table import MAX_SEARCH_CHARS, MAX_SEARCH_K, MAX_SEARCH_ROWS, MAX_SEARCH_WINDOW
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct


class SearchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search; what is absent comes from the server's settings."""

    query: Annotated[str, Meta(min_length=1, max_length=MAX_SEARCH_CHARS)]
    k: Annotated[int, Meta(ge=1, le=MAX_SEARCH_K, description="How many passages.")] | None = None
    w: (
        Annotated[int, Meta(ge=0, le=MAX_SEARCH_WINDOW, description="Neighbours on each side that may join a hit.")]
        | None
    ) = None
    w_th: (
        Annotated[float, Meta(ge=-1, le=1, description="Similarity to the hit above which a neighbour joins.")] | None
    ) = None


class SearchResults(msgspec.Struct, frozen=True):
    """Passages, best first."""

    results: tuple[Source, ...]


log = logging.getLogger(__name__)


OPERATIONS = (
    Operation(
        "post", "/search", "Passages for a question.",
        takes=[SearchQuery], gives={JSON: [SearchResults]}, errors=(*REFUSED, 404),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("search", front, is_side=True)
    settings, retriever = front.services.settings, front.services.retriever
    moderator = front.services.moderator
    verdicts = None if moderator is None else PassageVerdicts(moderator)

    @routes.post("/search")
    def search() -> Response:
        query = read_struct(read_json(request, settings.max_body_bytes), SearchQuery)
        if is_blank(query.query):
            raise invalid("query", query.query, "must hold visible text")
        _check_rows(query, settings)
        query = msgspec.structs.replace(query, query=normalise(query.query))
        if settings.web_search_url:
            _check_before_it_leaves(front, query.query)
        passages = _search(front, retriever, query)
        if verdicts is not None:
            exchange = current_exchange()
            passages = verdicts.allowed(
                passages, settings.request_deadline_s, exchange.request_id, caller=exchange.turn_taker
            )
        return json_response(SearchResults(tuple(map(Source.of, passages))))

    return routes


def _check_rows(query: SearchQuery, settings: Settings) -> None:
    """Refuse a search for very many passages with very many neighbours each. What the settings say is legal."""
    k = settings.search_k if query.k is None else query.k
    window = settings.search_window if query.w is None else query.w
    rows = k * (1 + 2 * window)
    if rows > MAX_SEARCH_ROWS and (query.k, query.w) != (None, None):
        raise invalid("k", k, f"with w={window} it looks at {rows} rows of the index; at most {MAX_SEARCH_ROWS}")


def _check_before_it_leaves(front: Front, query: str) -> None:
    """Judge a query that a search on the web would tell others. Raises ServiceError INVALID_FIELD where it blocks."""
    moderator = front.services.moderator
    if moderator is None:
        return
    deadline_s, caller = front.services.settings.request_deadline_s, current_exchange().turn_taker
    [judgement] = moderator.judge([query], Role.INPUT, deadline_s, caller=caller)
    front.metrics.judged(Role.INPUT.value, judgement)
    moderator.note(current_exchange().request_id, Role.INPUT, judgement, query)
    if judgement.blocked:
        raise ServiceError(ErrorCode.INVALID_FIELD, judgement.message, field="query")


def _search(front: Front, retriever: Retriever | None, query: SearchQuery) -> list[Passage]:
    settings = front.services.settings
    if retriever is None:
        raise ServiceError(ErrorCode.NOT_FOUND, "this server has no index: OCK_INDEX is empty")
    try:
        return retriever.search(
            Query(
                query.query,
                settings.search_k if query.k is None else query.k,
                settings.search_window if query.w is None else query.w,
                threshold=settings.search_threshold if query.w_th is None else query.w_th,
            )
        )
    except RetrievalError as error:
        front.metrics.retrieval_failed()
        log.warning("search.failed id=%s error=%s", current_exchange().request_id, error)
        message = "the index cannot be searched now; the log has the cause under this request id"
        raise ServiceError(ErrorCode.RETRIEVAL_UNAVAILABLE, message) from error
