"""Passages from a web search API that answers with JSON."""

from __future__ import annotations

import html
import json
import logging
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

from server.cut_off import cut_off
from server.retrieval.query import Query
from server.retrieval.result_cache import ResultCache
from server.retrieval.retriever import Passage, RetrievalError
from server.retrieval.web.http_deadline import cut_off_pool

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 2 << 20
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


@dataclass(frozen=True)
class ResultFields:
    """Where an answer holds its results, and a result its parts: keys and list positions, joined by dots."""

    results: str = "results"
    title: str = "title"
    text: str = "snippet"
    url: str = "url"


@dataclass(frozen=True)
class WebSearchPlan:
    """How to ask.

    Attributes:
        url: an address with {query}, and optionally {k} and {key}; the question is percent-encoded into it.
        host: the only host that is ever asked; redirects are not followed.
        key_header: the header that carries the key, when the address does not.
    """

    url: str
    host: str
    key: str
    key_header: str
    fields: ResultFields
    timeout_s: float


class WebSearch:
    """A retriever over the web. Results are cached, so a question asked again costs nothing.

    Raises:
        RetrievalError: an address without {query}, of another host than the one allowed, or not of the web.
    """

    def __init__(self, plan: WebSearchPlan, cache: ResultCache) -> None:
        _refuse_bad(plan)
        self._plan = plan
        self._cache = cache
        self._pool = cut_off_pool(max_connections=8)

    @property
    def version(self) -> str:
        """The host that answers."""
        return f"web/{self._plan.host}"

    def search(self, query: Query) -> list[Passage]:
        """The first `k` results; `window` and `threshold` mean nothing to the web.

        Raises:
            RetrievalError: no answer in time, another status than 200, or not the JSON that the fields describe.
        """
        if query.only is not None and query.only.languages:
            return []  # nobody knows what a page is written in
        words = query.with_topic
        key = (words, query.k)
        found = self._cache.find(key)
        if found is None:
            found = self._passages(self._ask(words, query.k))[: query.k]
            self._cache.put(key, found)
        return list(found)

    def info(self) -> dict[str, object]:
        """The host and how many results are cached."""
        return {"version": self.version, "cached": len(self._cache)}

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def _ask(self, query: str, k: int) -> object:
        plan = self._plan
        url = plan.url.replace("{query}", quote(query, safe="")).replace("{k}", str(k))
        headers = {"Accept": "application/json"} | ({plan.key_header: plan.key} if plan.key_header else {})
        deadline = time.monotonic() + plan.timeout_s
        try:
            answer = self._pool.request(
                "GET",
                url.replace("{key}", quote(plan.key, safe="")),
                headers=headers,
                timeout=urllib3.Timeout(total=plan.timeout_s),
                redirect=False,
                preload_content=False,
            )
            try:
                body = _read(answer, deadline)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # The error's text may hold the address, and the address the key.
            raise RetrievalError(f"web search: {plan.host} did not answer: {type(error).__name__}") from None
        if answer.status != 200:
            raise RetrievalError(f"web search: {plan.host} answered with status {answer.status}; 200 is legal")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise RetrievalError(f"web search: {plan.host} did not answer with JSON") from None

    def _passages(self, answer: object) -> list[Passage]:
        fields = self._plan.fields
        results = _at(answer, fields.results)
        if not isinstance(results, list):
            raise RetrievalError(f"web search: the answer has no list at {fields.results!r}")
        passages = []
        for rank, result in enumerate(results):
            title, text, url = (_plain(_at(result, path)) for path in (fields.title, fields.text, fields.url))
            if text:
                address = url or f"{self._plan.host}#{rank}"
                passages.append(
                    Passage(f"web:{address}", address, title, section="", text=text, score=1 / (1 + rank), url=url)
                )
        return passages


def _refuse_bad(plan: WebSearchPlan) -> None:
    parts = urlsplit(plan.url)
    if parts.scheme not in ("http", "https") or "{query}" not in plan.url:
        raise RetrievalError("web search: OCK_WEB_SEARCH_URL must begin with http:// or https:// and hold {query}")
    if parts.hostname != plan.host or "{" in parts.netloc:
        raise RetrievalError(
            f"web search: OCK_WEB_SEARCH_URL names the host {parts.hostname!r}, allowed is {plan.host!r}"
        )


def _read(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The body, however slowly it comes, until the deadline and up to MAX_ANSWER_BYTES."""
    body = bytearray()
    with cut_off(deadline, answer.shutdown):
        while block := answer.read1(1 << 16):
            body += block
            if len(body) > MAX_ANSWER_BYTES:
                raise OSError("the answer is too long")
    if time.monotonic() >= deadline:
        raise TimeoutError
    return bytes(body)


def _at(value: Any, path: str) -> Any:
    """What lies at a dotted path, None where there is nothing."""
    for step in path.split(".") if path else []:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _plain(value: object) -> str:
    """Text on one line, without the tags and entities that search APIs mark hits with."""
    if not isinstance(value, str):
        return ""
    return " ".join(html.unescape(_TAG.sub("", value)).split())
