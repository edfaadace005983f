"""POST /search: the passages that a question would be answered from."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request

from server.chat.records.turn_records import Source
from server.chat.text.visible import is_blank
from server.errors import ErrorCode, ServiceError
from server.retrieval.guarded import Guarded
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, RetrievalError, Retriever
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import JSON, REFUSED, Operation
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct
from server.web.search.schema import SearchQuery, SearchResults

log = logging.getLogger(__name__)


OPERATIONS = (
    Operation(
        "post", "/search", "Passages for a question.",
        takes=[SearchQuery], gives={JSON: [SearchResults]}, errors=(*REFUSED, 404),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("search", front)
    settings, retriever = front.services.settings, front.services.retriever
    guarded = retriever and Guarded("search", retriever, settings.retrieval_timeout_s, settings.threads)

    @routes.post("/search")
    def search() -> Response:
        query = read_struct(read_json(request, settings.max_body_bytes), SearchQuery)
        if is_blank(query.query):
            raise invalid("query", query.query, "must hold visible text")
        return json_response(SearchResults(tuple(map(Source.of, _search(front, guarded, query)))))

    return routes


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
                settings.search_threshold if query.w_th is None else query.w_th,
            )
        )
    except RetrievalError as error:
        front.metrics.retrieval_failed()
        log.warning("search.failed id=%s error=%s", current_exchange().request_id, error)
        message = "the index cannot be searched now; the log has the cause under this request id"
        raise ServiceError(ErrorCode.RETRIEVAL_UNAVAILABLE, message) from error
