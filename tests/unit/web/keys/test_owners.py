"""Conversations belong to a key: listed, searched and exported by its owner, and not there for anybody else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from tests.unit.web.fakes import Fakes
from tests.unit.web.keys.made_keys import MadeKeys


@pytest.fixture
def fakes(keys: MadeKeys) -> Fakes:
    return keys.fakes()


class Person:
    """A client with one key."""

    def __init__(self, client: FlaskClient, headers: dict[str, str]) -> None:
        self._client, self._headers = client, headers

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(path, query_string=query, headers=self._headers)

    def delete(self, path: str, **query: Any) -> Any:
        return self._client.delete(path, query_string=query, headers=self._headers)

    def post(self, body: dict[str, Any], path: str = "/invocations") -> Any:
        return self._client.post(path, json=body, headers=self._headers)

    def ask(self, text: str, session_id: str = "mine") -> Any:
        return self.post({"inputs": text, "parameters": {"session_id": session_id}}).json

    def lines(self, path: str, **query: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.get(path, **query).data.splitlines()]


@pytest.fixture
def alice(client: FlaskClient, keys: MadeKeys) -> Person:
    return Person(client, keys.headers("alice"))


@pytest.fixture
def bob(client: FlaskClient, keys: MadeKeys) -> Person:
    return Person(client, keys.headers("bob"))


@pytest.fixture
def olga(client: FlaskClient, keys: MadeKeys) -> Person:
    return Person(client, keys.headers("olga"))


def not_there(response: Any) -> bool:
    return bool(response.status_code == 404 and response.json["error"]["code"] == "session_not_found")


def test_anothers_conversation_is_not_there_whatever_is_asked_of_it(alice: Person, bob: Person) -> None:
    alice.ask("Who was Lincoln?")
    assert not_there(bob.get("/sessions/mine"))
    assert not_there(bob.get("/sessions/mine/export"))
    assert not_there(bob.delete("/sessions/mine"))
    assert not_there(bob.delete("/sessions/mine/turns/1"))
    assert not_there(bob.post({"rating": "up"}, "/sessions/mine/turns/1/feedback"))
    for action in ("history", "delete"):
        assert not_there(bob.post({"action": action, "session_id": "mine"}))
    assert bob.ask("And I?")["turn"] == 1
    assert [turn["user"] for turn in alice.get("/sessions/mine").json["turns"]] == ["Who was Lincoln?"]
    assert [turn["user"] for turn in bob.get("/sessions/mine").json["turns"]] == ["And I?"]


def test_an_answer_that_is_continued_by_its_id_is_ones_own(alice: Person, bob: Person) -> None:
    first = alice.post({"input": "Who was Lincoln?"}, "/v1/responses").json
    more = {"input": "And then?", "previous_response_id": first["id"]}
    assert bob.post(more, "/v1/responses").status_code == 404
    assert alice.post(more, "/v1/responses").status_code == 200


def test_ones_own_conversations_are_listed_in_pages_the_newest_first(alice: Person, bob: Person) -> None:
    for number in range(5):
        alice.ask(f"Question {number}", f"s{number}")
        bob.ask("Mine", f"s{number}")
    alice.ask("More", "s3")
    answers, before = [], {}
    while True:
        page = alice.get("/sessions", limit=2, **before).json
        answers.append([(each["session_id"], each["title"], each["turns"]) for each in page["sessions"]])
        if "next" not in page:
            break
        before = {"before": page["next"]}
    listed = [each for answer in answers for each in answer]
    assert sorted(listed) == [(f"s{number}", f"Question {number}", 2 if number == 3 else 1) for number in range(5)]
    assert [len(answer) for answer in answers] == [2, 2, 1]
    assert alice.post({"action": "list", "limit": 100}).json == alice.get("/sessions", limit=100).json


def test_conversations_are_found_by_their_words(alice: Person, bob: Person) -> None:
    alice.ask("Who was Lincoln?", "a")
    alice.ask("Where is Paris?", "b")
    alice.ask("And the LOUVRE?", "b")
    bob.ask("The Louvre?", "c")

    def found(words: str) -> list[str]:
        return [each["session_id"] for each in alice.get("/sessions", q=words).json["sessions"]]

    assert found("louvre") == ["b"]
    assert found("lincoln who") == ["a"]
    assert found("paris louvre") == []  # in no one turn
    assert found("nothing") == []


def test_a_search_looks_through_so_much_and_says_where_to_go_on(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.sessions.listing.MAX_SEARCHED_TURNS", 2)
    for number in range(5):
        alice.ask("needle" if number == 0 else "hay", f"s{number}")
    found, before, calls = [], {}, 0
    while True:
        page = alice.get("/sessions", q="needle", **before).json
        calls += 1
        found += page["sessions"]
        if "next" not in page:
            break
        before = {"before": page["next"]}
    assert len(found) == 1
    assert calls == 3


def test_an_export_has_every_turn_on_a_line(alice: Person, bob: Person) -> None:
    alice.ask("One", "a")
    alice.ask("Two", "a")
    alice.ask("Three", "b")
    bob.ask("Other", "a")
    alice.post({"rating": "down", "text": "No."}, "/sessions/a/turns/2/feedback")
    assert [line["user"] for line in alice.lines("/sessions/a/export")] == ["One", "Two"]
    lines = alice.lines("/export")
    assert sorted((line["session_id"], line["user"]) for line in lines) == [("a", "One"), ("a", "Two"), ("b", "Three")]
    assert [line["feedback"] for line in lines if line["feedback"]] == [{"rating": "down", "text": "No."}]
    assert bob.get("/export").content_type == "application/jsonlines"


def test_an_export_that_breaks_says_so_in_its_last_line(alice: Person, fakes: Fakes) -> None:
    alice.ask("One", "a")
    rows = fakes.store._rows  # type: ignore[attr-defined]
    read, calls = rows.oldest_first, []

    def failing(*given: Any) -> Any:
        calls.append(given)
        yield from read(*given)
        if len(calls) > 2:
            raise ServiceError(ErrorCode.STORE_UNAVAILABLE, "the store is away")

    rows.oldest_first = failing
    lines = alice.lines("/export")
    assert [line["error"]["code"] for line in lines if "error" in line] == ["store_unavailable"]
    assert lines[0]["user"] == "One"


@pytest.mark.parametrize("path", ["/sessions", "/export", "/sessions/mine", "/sessions/mine/export"])
def test_an_operator_sees_what_belongs_to_others_and_nobody_else_does(
    alice: Person, bob: Person, olga: Person, path: str
) -> None:
    alice.ask("Who was Lincoln?")
    assert b"Lincoln" in olga.get(path, owner="alice").data
    assert b"Lincoln" not in olga.get(path).data
    refused = bob.get(path, owner="alice")
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "forbidden")
    assert b"Lincoln" in alice.get(path, owner="alice").data


def test_where_operators_have_a_port_they_see_what_belongs_to_others_there_alone(keys: MadeKeys) -> None:
    client = create_app(keys.fakes(operator_port=9090).services).test_client()
    Person(client, keys.headers("alice")).ask("Who was Lincoln?")

    def olga_sees(port: int) -> Any:
        where = {"base_url": f"http://localhost:{port}", "headers": keys.headers("olga")}
        return client.get("/sessions/mine?owner=alice", **where)

    assert b"Lincoln" in olga_sees(9090).data
    assert (olga_sees(8080).status_code, b"Lincoln" in olga_sees(8080).data) == (403, False)


def test_an_operator_erases_what_belongs_to_others(alice: Person, bob: Person, olga: Person) -> None:
    alice.ask("One")
    alice.ask("Two")
    assert bob.delete("/sessions/mine", owner="alice").status_code == 403
    assert olga.post({"action": "delete_turn", "session_id": "mine", "turn": 1, "owner": "alice"}).status_code == 200
    assert [turn["user"] for turn in alice.get("/sessions/mine").json["turns"]] == ["Two"]
    assert olga.delete("/sessions/mine", owner="alice").status_code == 200
    assert alice.get("/sessions").json == {"sessions": []}


def test_conversations_from_before_there_were_keys_are_the_operators(
    alice: Person, olga: Person, fakes: Fakes, client: FlaskClient
) -> None:
    store = fakes.store
    store.create("old")
    assert not_there(alice.get("/sessions/old"))
    assert alice.get("/sessions/old", owner="").status_code == 403
    assert olga.get("/sessions/old", owner="").json == {"session_id": "old", "turns": []}


def test_a_turn_is_cancelled_by_its_owner_alone(alice: Person, bob: Person, fakes: Fakes) -> None:
    asked: list[tuple[str | None, str]] = []
    fakes.turns.cancel = lambda session_id, request_id, owner: asked.append((session_id, owner)) or 1  # type: ignore
    alice.post({"action": "cancel", "session_id": "mine"})
    bob.post({}, "/sessions/mine/cancel")
    assert bob.post({"action": "cancel", "session_id": "mine", "owner": "alice"}).status_code == 403
    assert asked == [("mine", "alice"), ("mine", "bob")]


@pytest.mark.parametrize("path", ["/sessions", "/export"])
def test_without_keys_nobody_has_a_list(path: str) -> None:
    response = create_app(Fakes().services).test_client().get(path)
    assert response.status_code == 403
    assert response.json is not None
    assert "OCK_API_KEYS" in response.json["error"]["message"]


@pytest.mark.parametrize("query", [{"before": "x"}, {"limit": 101}, {"q": "x" * 201}, {"offset": 3}])
def test_a_list_outside_its_limits_is_refused(alice: Person, query: dict[str, Any]) -> None:
    assert alice.get("/sessions", **query).status_code == 400
