from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.chat.moderation.policy import Role
from server.chat.records.turn_records import Judgement
from server.config import Settings
from server.web.app import create_app
from server.web.limits import table
from tests.unit.web.fakes import OVERRIDE, FakeModerator, Fakes


def test_each_text_gets_its_verdict_in_openai_s_shape(client: FlaskClient) -> None:
    response = client.post("/v1/moderations", json={"input": ["hello", "I will kill you"]})
    assert response.status_code == 200
    assert response.json["id"] == f"modr-{response.headers['X-Request-Id']}"
    assert response.json["model"] == "openchatkit"
    fine, threat = response.json["results"]
    assert fine["flagged"] is False
    assert fine["categories"] == {"casual": False, "needs intervention": False}
    assert fine["message"] == ""
    assert threat["flagged"] is True
    assert threat["categories"] == {"casual": False, "needs intervention": True}
    assert threat["category_scores"] == {"casual": 0.1, "needs intervention": 0.9}
    assert threat["category_log_probs"] == {"casual": -1.5, "needs intervention": -1.5}
    assert threat["label"] == "needs intervention"
    assert threat["message"] == OVERRIDE


@pytest.mark.parametrize(
    ("given", "count"), [("hello", 1), ([{"type": "text", "text": "hello"}, "you"], 2), (["a"] * 128, 128)]
)
def test_a_text_a_list_and_text_parts_are_judged(client: FlaskClient, given: Any, count: int) -> None:
    asked = {"input": given, "user": "me"}
    assert len(client.post("/v1/moderations", json=asked).json["results"]) == count


def test_verdicts_are_offered_to_the_audit_log_under_the_call_s_id(fakes: Fakes, client: FlaskClient) -> None:
    response = client.post("/v1/moderations", json={"input": ["hello", "I will kill you"], "role": "output"})
    assert fakes.moderator is not None
    number = response.headers["X-Request-Id"]
    assert fakes.moderator.noted == [
        (number, Role.OUTPUT, False, "hello"),
        (number, Role.OUTPUT, True, "I will kill you"),
    ]


@pytest.mark.parametrize(("role", "judged"), [({}, Role.INPUT), ({"role": "output"}, Role.OUTPUT)])
def test_the_role_chooses_the_rule(fakes: Fakes, client: FlaskClient, role: dict[str, str], judged: Role) -> None:
    assert client.post("/v1/moderations", json={"input": "hello", **role}).status_code == 200
    assert fakes.moderator is not None
    assert fakes.moderator.roles == [judged]


@pytest.mark.parametrize(
    "body",
    [
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": 5},
        {"input": ["a"] * 129},
        {"input": [{"type": "image_url", "image_url": {"url": "http://x"}}]},
        {"input": "a", "role": "bot"},
        {},
    ],
)
def test_what_cannot_be_judged_is_refused(fakes: Fakes, client: FlaskClient, body: dict[str, Any]) -> None:
    response = client.post("/v1/moderations", json=body)
    assert response.status_code == 400
    assert fakes.moderator is not None
    assert fakes.moderator.roles == []


@pytest.mark.parametrize(("model", "status"), [("", 200), ("openchatkit", 200), (None, 200), ("omni-moderation", 404)])
def test_the_model_is_the_policy_s_name_or_empty(client: FlaskClient, model: str | None, status: int) -> None:
    assert client.post("/v1/moderations", json={"input": "a", "model": model}).status_code == status


def test_with_moderation_off_the_route_says_so() -> None:
    client = create_app(Fakes(moderator=None, policy=None).services).test_client()
    response = client.post("/v1/moderations", json={"input": "a"})
    assert response.status_code == 404
    assert "moderation is off" in response.json["error"]["message"]


def test_verdicts_are_counted(client: FlaskClient) -> None:
    client.post("/v1/moderations", json={"input": ["hello", "I will kill you"]})
    text = client.get("/metrics").text
    assert 'ock_moderation_decisions_total{decision="allow",label="casual",role="input"} 1.0' in text
    assert 'ock_moderation_decisions_total{decision="block",label="needs intervention",role="input"} 1.0' in text


def test_more_than_can_be_judged_in_a_call_is_refused_with_the_numbers() -> None:
    fakes = Fakes(settings=Settings(max_body_bytes=10**6, threads=12))
    client = create_app(fakes.services).test_client()
    most = table.MAX_MODERATION_CHARS // 2
    assert client.post("/v1/moderations", json={"input": ["a" * most] * 2}).status_code == 200
    response = client.post("/v1/moderations", json={"input": ["a" * most, "a" * most, "a"]})
    assert response.status_code == 400
    assert response.json["error"]["field"] == "input"
    assert (
        f"{table.MAX_MODERATION_CHARS + 1} characters, at most {table.MAX_MODERATION_CHARS}"
        in response.json["error"]["message"]
    )


def test_a_few_calls_are_judged_at_once_and_the_others_wait_or_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FakeModerator):
        def judge(
            self, texts: Sequence[str], role: Role, deadline_s: float | None = None, *, caller: str = ""
        ) -> list[Judgement]:
            begun.release()
            assert go_on.wait(30)
            return super().judge(texts, role, deadline_s)

    def post(text: str) -> int:
        return app.test_client().post("/v1/moderations", json={"input": text}).status_code

    begun, go_on = threading.Semaphore(0), threading.Event()
    monkeypatch.setattr(table, "MODERATION_WAIT_S", 0.1)
    app = create_app(Fakes(moderator=Slow()).services)
    with ThreadPoolExecutor(4) as pool:
        first = [pool.submit(post, "hello") for _ in range(3)]
        assert all(begun.acquire(timeout=30) for _ in first)
        assert post("hello") == 429
        go_on.set()
        assert [each.result() for each in first] == [200] * 3
    assert post("hello") == 200


def test_a_text_hidden_in_tags_is_judged_too(client: FlaskClient) -> None:
    hidden = "".join(chr(0xE0000 + ord(char)) for char in "kill")
    response = client.post("/v1/moderations", json={"input": ["Good morning", f"Good morning{hidden}"]})
    assert [each["flagged"] for each in response.json["results"]] == [False, True]
