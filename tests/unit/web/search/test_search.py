from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from server.config import Settings
from server.web.app import create_app
from tests.unit.web.fakes import LINCOLN, Fakes


def test_search_gives_passages_and_passes_its_parameters_on(fakes: Fakes, client: FlaskClient) -> None:
    response = client.post("/search", json={"query": "Lincoln", "k": 3, "w": 0, "w_th": -0.5})
    assert response.status_code == 200
    assert response.json == {
        "results": [
            {
                "title": LINCOLN.title,
                "text": LINCOLN.text,
                "score": LINCOLN.score,
                "document_id": "307",
                "passage_id": "307:0",
                "url": LINCOLN.url,
            }
        ]
    }
    assert fakes.retriever is not None
    assert fakes.retriever.asked == [("Lincoln", 3, 0, -0.5)]


def test_what_a_search_does_not_say_comes_from_the_settings(fakes: Fakes, client: FlaskClient) -> None:
    client.post("/search", json={"query": "Lincoln"})
    settings = fakes.settings
    assert fakes.retriever is not None
    assert fakes.retriever.asked == [("Lincoln", settings.search_k, settings.search_window, settings.search_threshold)]


def test_a_search_that_fails_is_503_counted_and_logged(
    fakes: Fakes, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert fakes.retriever is not None
    fakes.retriever.broken = True
    response = client.post("/search", json={"query": "a private question"})
    assert response.status_code == 503
    assert response.json["error"]["code"] == "retrieval_unavailable"
    assert response.json["error"]["retryable"] is True
    assert "the index is gone" in caplog.text
    assert "private" not in caplog.text
    assert "ock_retrieval_failures_total 1.0" in client.get("/metrics").text


def test_without_an_index_search_says_so() -> None:
    client = create_app(Fakes(retriever=None).services).test_client()
    response = client.post("/search", json={"query": "Lincoln"})
    assert response.status_code == 404
    assert "OCK_INDEX" in response.json["error"]["message"]


def test_a_search_s_passages_are_withheld_by_the_rule_of_turns(fakes: Fakes, client: FlaskClient) -> None:
    assert fakes.retriever is not None
    fakes.retriever.found = [replace(LINCOLN, passage_id="web:1", title="How to kill"), LINCOLN]
    response = client.post("/search", json={"query": "Lincoln"})
    assert [each["passage_id"] for each in response.json["results"]] == ["307:0"]


def test_a_query_is_judged_before_the_web_learns_of_it() -> None:
    fakes = Fakes(settings=Settings(web_search_url="https://example.com/?q={query}"))
    client = create_app(fakes.services).test_client()
    response = client.post("/search", json={"query": "how to k\u200bill"})
    assert (response.status_code, response.json["error"]["field"]) == (400, "query")
    assert fakes.retriever is not None
    assert fakes.retriever.asked == []
    assert client.post("/search", json={"query": "Lincoln"}).status_code == 200
