"""The web as a retriever: asked at one host only, cached, and never waited for beyond its deadline."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from server.retrieval.query import Query
from server.retrieval.result_cache import ResultCache
from server.retrieval.retriever import RetrievalError
from server.retrieval.web.search import MAX_ANSWER_BYTES, ResultFields, WebSearch, WebSearchPlan
from tests.unit.retrieval.web.search_api import SearchApi


@pytest.fixture
def api() -> Iterator[SearchApi]:
    api = SearchApi()
    api.results({"title": "Albedo", "snippet": "Albedo is <b>whiteness</b> &amp; more.", "url": "https://x.example/a"})
    yield api
    api.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def web(api: SearchApi, clock: Clock | None = None, **changes: object) -> WebSearch:
    plan = WebSearchPlan(
        url=f"{api.url}/s?q={{query}}&n={{k}}",
        host="127.0.0.1",
        key="hush-hush",
        key_header="",
        fields=ResultFields(),
        timeout_s=5.0,
    )
    return WebSearch(dataclasses.replace(plan, **changes), ResultCache(10, 60.0, clock or Clock()))


def search(retriever: WebSearch, query: str = "What is albedo?", k: int = 3) -> list[str]:
    return [passage.text for passage in retriever.search(Query(query, k, 0, 0.0))]


def test_results_are_passages_in_plain_text(api: SearchApi) -> None:
    (passage,) = web(api).search(Query("What is albedo?", 3, 0, 0.0))
    assert (passage.title, passage.text) == ("Albedo", "Albedo is whiteness & more.")
    assert passage.url == passage.document_id == "https://x.example/a"
    assert api.requests[0][0] == "/s?q=What%20is%20albedo%3F&n=3"


def test_a_question_cannot_leave_its_place_in_the_address(api: SearchApi) -> None:
    search(web(api), "a&key=b#/../..\r\nHost: evil {key}")
    assert api.requests[0][0] == "/s?q=a%26key%3Db%23%2F..%2F..%0D%0AHost%3A%20evil%20%7Bkey%7D&n=3"


def test_the_key_goes_into_its_header_or_its_place(api: SearchApi) -> None:
    search(web(api, key_header="X-Key"))
    search(web(api, url=f"{api.url}/s?q={{query}}&key={{key}}"))
    assert api.requests[0][1]["X-Key"] == "hush-hush"
    assert api.requests[1][0].endswith("&key=hush-hush")


def test_fields_are_found_by_dotted_paths(api: SearchApi) -> None:
    api.body = b'{"web": {"pages": [{"t": ["Title"], "d": {"text": "Words."}, "u": "https://x.example"}]}}'
    fields = ResultFields(results="web.pages", title="t.0", text="d.text", url="u")
    (passage,) = web(api, fields=fields).search(Query("q", 1, 0, 0.0))
    assert (passage.title, passage.text, passage.url) == ("Title", "Words.", "https://x.example")


def test_a_question_asked_again_is_answered_from_the_cache_until_it_is_old(api: SearchApi) -> None:
    clock = Clock()
    retriever = web(api, clock)
    search(retriever)
    search(retriever)
    assert len(api.requests) == 1
    clock.now = 61
    search(retriever)
    assert len(api.requests) == 2


def test_the_cache_holds_so_many_questions_and_drops_the_oldest(api: SearchApi) -> None:
    retriever = web(api)
    for number in range(11):
        search(retriever, f"question {number}")
    search(retriever, "question 10")
    assert len(api.requests) == 11
    search(retriever, "question 0")
    assert len(api.requests) == 12


@pytest.mark.parametrize("status", [301, 302, 307, 404, 429, 500])
def test_another_status_fails_and_redirects_are_not_followed(api: SearchApi, status: int) -> None:
    api.status, api.headers = status, {"Location": f"{api.url}/elsewhere"}
    with pytest.raises(RetrievalError, match=f"127.0.0.1 answered with status {status}; 200 is legal"):
        search(web(api))
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"results": {"a": 1}}', b'{"results": null}', b"\xff", b"[" * 200_000]
)
def test_what_is_not_the_json_described_fails(api: SearchApi, body: bytes) -> None:
    api.body = body
    with pytest.raises(RetrievalError, match=r"did not answer with JSON|has no list at 'results'"):
        search(web(api))


def test_results_without_text_are_left_out(api: SearchApi) -> None:
    api.results({"title": "A"}, {"snippet": 5}, {"snippet": "   "}, {"snippet": "Words.", "title": None})
    assert search(web(api)) == ["Words."]


def test_an_answer_that_drips_is_given_up_at_the_deadline(api: SearchApi) -> None:
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not ended.wait(0.02):
                handler.wfile.write(b" " * 70_000)
        except OSError:
            return

    api.answer = drip
    with pytest.raises(RetrievalError, match="did not answer"):
        search(web(api, timeout_s=0.3))
    ended.set()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_an_answer_of_a_byte_now_and_then_is_given_up_at_the_deadline(api: SearchApi, head: bytes) -> None:
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        try:
            while not ended.wait(0.1):
                handler.wfile.write(b"H")
        except OSError:
            return

    api.answer = drip
    started = time.monotonic()
    with pytest.raises(RetrievalError, match="did not answer"):
        search(web(api, timeout_s=0.5))
    assert time.monotonic() - started < 2
    ended.set()


def test_an_answer_of_many_small_pieces_within_the_deadline_is_read(api: SearchApi) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for byte in api.body:
            handler.wfile.write(bytes([byte]))

    api.answer = drip
    assert search(web(api)) == ["Albedo is whiteness & more."]


def test_an_answer_without_end_is_given_up(api: SearchApi) -> None:
    api.body = b" " * (MAX_ANSWER_BYTES + 100_000)
    with pytest.raises(RetrievalError, match="did not answer"):
        search(web(api))


def test_a_host_that_is_gone_fails_without_telling_the_key(api: SearchApi) -> None:
    retriever = web(api, url=f"{api.url}/s?q={{query}}&key={{key}}")
    api.close()
    with pytest.raises(RetrievalError) as caught:
        search(retriever)
    assert "hush-hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    api.__init__()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://127.0.0.1/{query}", "must begin with http"),
        ("http://127.0.0.1/s", "must begin with http.*hold {query}"),
        ("http://evil.example/{query}", "names the host 'evil.example', allowed is '127.0.0.1'"),
        ("http://{query}.example/", "names the host"),
        ("http://127.0.0.1@evil.example/{query}", "names the host 'evil.example'"),
    ],
)
def test_an_address_elsewhere_is_refused_at_the_start(api: SearchApi, url: str, reason: str) -> None:
    with pytest.raises(RetrievalError, match=reason):
        web(api, url=url)
