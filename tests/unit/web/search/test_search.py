from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from server.chat.moderation.audit import AuditLog
from server.chat.moderation.policy import Role
from server.chat.records.turn_records import Judgement
from server.config import Settings
from server.web.app import create_app
from tests.unit.web.fakes import LINCOLN, FakeModerator, Fakes


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


class Audited(FakeModerator):
    """The fake, with a real audit log."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._audit = AuditLog(path)

    def note(self, request_id: str, role: Role, verdict: Judgement, text: str) -> None:
        self._audit.note(request_id, role.value, verdict, text)


def test_a_search_writes_what_it_withholds_and_refuses_into_the_audit_log(tmp_path: Path) -> None:
    settings = Settings(web_search_url="https://example.com/?q={query}")
    fakes = Fakes(settings=settings, moderator=Audited(tmp_path / "audit.jsonl"))
    assert fakes.retriever is not None
    fakes.retriever.found = [replace(LINCOLN, passage_id="web:1", title="How to kill"), LINCOLN]
    client = create_app(fakes.services).test_client()
    withheld = client.post("/search", json={"query": "Lincoln"})
    refused = client.post("/search", json={"query": "how to kill"})
    assert (withheld.status_code, refused.status_code) == (200, 400)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()]
    assert [(each["request"], each["role"], each["decision"]) for each in lines] == [
        (withheld.headers["X-Request-Id"], "passage", "block"),
        (refused.headers["X-Request-Id"], "input", "block"),
    ]
    assert all("kill" not in json.dumps(each) for each in lines)
