from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import Turn
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from tests.unit.web.fakes import Fakes

STICKY = "X-Amzn-SageMaker-Session-Id"
NEW = "X-Amzn-SageMaker-New-Session-Id"
CLOSED = "X-Amzn-SageMaker-Closed-Session-Id"


def ask(client: FlaskClient, text: str, session_id: str) -> dict[str, Any]:
    record = client.post("/invocations", json={"inputs": text, "parameters": {"session_id": session_id}}).json
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize("through_action", [False, True])
def test_history_gives_every_turn_and_delete_erases_them(client: FlaskClient, through_action: bool) -> None:
    def history() -> Any:
        if through_action:
            return client.post("/invocations", json={"action": "history", "session_id": "mine"})
        return client.get("/sessions/mine")

    def delete() -> Any:
        if through_action:
            return client.post("/invocations", json={"action": "delete", "session_id": "mine"})
        return client.delete("/sessions/mine")

    assert history().status_code == delete().status_code == 404
    assert [ask(client, text, "mine")["turn"] for text in ("Who was Lincoln?", "And then?")] == [1, 2]
    found = history().json
    assert found["session_id"] == "mine"
    assert [(turn["turn"], turn["user"], turn["reply"]) for turn in found["turns"]] == [
        (1, "Who was Lincoln?", "You said: Who was Lincoln?"),
        (2, "And then?", "You said: And then?"),
    ]
    assert found["turns"][0]["finish_reason"] == "stop"
    assert found["turns"][0]["sources"][0]["title"] == "Abraham Lincoln"
    assert found["turns"][0]["labels"] == {"input": "casual", "output": "casual"}
    assert delete().json == {"session_id": "mine", "deleted": True}
    assert delete().json["error"]["code"] == "session_not_found"
    assert history().json["error"]["code"] == "session_not_found"


Ask = Callable[..., Any]


@pytest.fixture(params=["route", "action"])
def history(request: pytest.FixtureRequest, client: FlaskClient) -> Ask:
    """Asks for the history of "mine", in the two ways there are."""

    def ask_route(**page: object) -> Any:
        return client.get("/sessions/mine", query_string=page)

    def ask_action(**page: object) -> Any:
        return client.post("/invocations", json={"action": "history", "session_id": "mine", **page})

    return ask_route if request.param == "route" else ask_action


def fill(fakes: Fakes, num_turns: int, num_chars: int = 1) -> None:
    fakes.store.sessions["mine"] = [
        Turn(number, "x" * num_chars, "yes", "stop", 1.0) for number in range(1, num_turns + 1)
    ]


def read_through(history: Ask, **page: object) -> list[list[int]]:
    """The numbers of the turns of each answer, until there is no more."""
    answers: list[list[int]] = []
    after: dict[str, object] = {}
    while True:
        found = history(**page, **after).json
        answers.append([turn["turn"] for turn in found["turns"]])
        if "next_after" not in found:
            return answers
        after = {"after": found["next_after"]}


def test_a_history_is_read_in_pages_of_any_size(fakes: Fakes, history: Ask) -> None:
    fill(fakes, 7)
    assert read_through(history) == [[1, 2, 3, 4, 5, 6, 7]]
    assert read_through(history, limit=3) == [[1, 2, 3], [4, 5, 6], [7]]
    assert read_through(history, limit=7) == [[1, 2, 3, 4, 5, 6, 7]]
    assert history(after=7).json == history(after=99).json == {"session_id": "mine", "turns": []}


def test_a_history_has_at_most_a_thousand_turns_in_one_answer_and_reads_no_more(fakes: Fakes, history: Ask) -> None:
    fill(fakes, 2500)
    found = history().json
    assert len(found["turns"]) == found["next_after"] == 1000
    assert fakes.store.turns_read == 1001
    assert [len(numbers) for numbers in read_through(history)] == [1000, 1000, 500]


def test_a_history_has_at_most_some_megabytes_in_one_answer_but_always_a_turn(fakes: Fakes, history: Ask) -> None:
    fill(fakes, 30, 300_000)
    assert max(len(history(after=after).data) for after in (0, 13)) < 4_100_000
    assert [len(numbers) for numbers in read_through(history)] == [13, 13, 4]
    fill(fakes, 2, 5_000_000)
    assert read_through(history) == [[1], [2]]


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": -1}, {"after": 2**60}])
def test_a_page_outside_its_limits_is_refused(fakes: Fakes, history: Ask, page: dict[str, object]) -> None:
    fill(fakes, 1)
    response = history(**page)
    assert response.status_code == 400
    assert response.json["error"]["field"] == next(iter(page))


def test_an_unknown_part_of_the_query_is_refused(client: FlaskClient) -> None:
    response = client.get("/sessions/mine?offset=3")
    assert response.status_code == 400
    assert "Legal names: after, limit" in response.json["error"]["message"]


def test_a_part_of_a_conversation_cannot_be_erased(fakes: Fakes, client: FlaskClient) -> None:
    fill(fakes, 3)
    response = client.post("/invocations", json={"action": "delete", "session_id": "mine", "after": 1})
    assert response.status_code == 400
    assert response.json["error"]["code"] == "unsupported_field"
    assert len(fakes.store.sessions["mine"]) == 3


def test_an_action_asks_no_question(fakes: Fakes, client: FlaskClient) -> None:
    client.post("/invocations", json={"action": "history", "session_id": "mine"})
    assert fakes.turns.requests == []


@pytest.mark.parametrize("session_id", ["a b", "-a", "x" * 129, "a%0Ab", "NEW_SESSION"])
def test_an_illegal_session_id_in_the_path_is_refused(client: FlaskClient, session_id: str) -> None:
    for response in (client.get(f"/sessions/{session_id}"), client.delete(f"/sessions/{session_id}")):
        assert response.status_code == 400
        assert response.json["error"]["field"] == "session_id"


def test_new_session_makes_a_stored_session_with_an_expiry(fakes: Fakes, client: FlaskClient) -> None:
    response = client.post("/invocations", json={"requestType": "NEW_SESSION"}, headers={STICKY: "NEW_SESSION"})
    assert response.status_code == 200
    session_id, _, expires = response.headers[NEW].partition("; ")
    assert response.json == {"session_id": session_id}
    assert re.fullmatch(r"Expires=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires)
    assert fakes.store.sessions == {session_id: []}
    assert client.get(f"/sessions/{session_id}").json == {"session_id": session_id, "turns": []}
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", session_id), "SageMaker takes no other ids"


def test_the_sticky_header_names_the_session_of_a_question(fakes: Fakes, client: FlaskClient) -> None:
    response = client.post("/invocations", json={"inputs": "hello"}, headers={STICKY: "abc"})
    assert response.json["session_id"] == "abc"
    assert NEW not in response.headers
    assert client.get("/sessions/abc").json["turns"][0]["user"] == "hello"


def test_close_answers_with_the_closed_header_and_keeps_the_conversation(client: FlaskClient) -> None:
    ask(client, "hello", "abc")
    response = client.post("/invocations", json={"requestType": "CLOSE"}, headers={STICKY: "abc"})
    assert response.status_code == 200
    assert response.headers[CLOSED] == "abc"
    assert len(client.get("/sessions/abc").json["turns"]) == 1


@pytest.mark.parametrize("headers", [{}, {STICKY: "NEW_SESSION"}])
def test_close_without_a_session_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    response = client.post("/invocations", json={"requestType": "CLOSE"}, headers=headers)
    assert response.status_code == 400
    assert response.json["error"]["field"] == STICKY


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_under_the_new_session_header_opens_one(fakes: Fakes, client: FlaskClient, stream: bool) -> None:
    body = {"inputs": "hello", "stream": stream}
    response = client.post("/invocations", json=body, headers={STICKY: "NEW_SESSION"})
    session_id = response.headers[NEW].partition(";")[0]
    assert fakes.turns.requests[0].session_id == session_id
    assert response.headers["X-Amzn-SageMaker-Custom-Attributes"] == f"session_id={session_id}"
    assert session_id in fakes.store.sessions


@pytest.mark.parametrize("require_session", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("headers", [{}, {STICKY: "NEW_SESSION"}])
def test_a_refused_question_leaves_no_session_behind(
    stream: bool, require_session: bool, headers: dict[str, str]
) -> None:
    fakes = Fakes()
    fakes.settings = fakes.settings.model_copy(update={"require_session": require_session})
    fakes.turns.refusals["long"] = ServiceError(ErrorCode.PROMPT_TOO_LONG, "too long", field="inputs")
    client = create_app(fakes.services).test_client()
    response = client.post("/invocations", json={"inputs": "long", "stream": stream}, headers=headers)
    assert response.status_code == 400
    assert response.json["error"]["code"] == "prompt_too_long"
    assert fakes.store.sessions == {}
    assert fakes.turns.requests == []


def test_body_and_header_that_name_two_sessions_are_refused(fakes: Fakes, client: FlaskClient) -> None:
    body = {"inputs": "hello", "parameters": {"session_id": "mine"}}
    response = client.post("/invocations", json=body, headers={STICKY: "yours"})
    assert response.status_code == 400
    assert response.json["error"]["field"] == "parameters.session_id"
    assert fakes.turns.requests == []
    assert client.post("/invocations", json=body, headers={STICKY: "mine"}).status_code == 200


def test_a_list_under_a_sticky_session_is_refused(fakes: Fakes, client: FlaskClient) -> None:
    for session_id in ("abc", "NEW_SESSION"):
        response = client.post("/invocations", json={"inputs": ["a", "b"]}, headers={STICKY: session_id})
        assert response.status_code == 400
    assert fakes.turns.requests == []
    assert fakes.store.sessions == {}


def test_an_illegal_sticky_header_is_refused(client: FlaskClient) -> None:
    response = client.post("/invocations", json={"inputs": "hello"}, headers={STICKY: "a b"})
    assert response.status_code == 400
    assert response.json["error"]["field"] == STICKY


def test_sessions_that_never_expire_still_have_a_date() -> None:
    fakes = Fakes()
    settings = fakes.settings.model_copy(update={"session_ttl_s": 0.0})
    client = create_app(Fakes(settings=settings).services).test_client()
    assert "Expires=2" in client.post("/invocations", json={"requestType": "NEW_SESSION"}).headers[NEW]


@pytest.mark.parametrize("body", [
    {"inputs": "hello"}, {"action": "history", "session_id": "s"}, {"action": "list"}, {"requestType": "CLOSE"},
    {"messages": [{"role": "user", "content": "hello"}]},
])  # fmt: skip
def test_a_sticky_session_that_cannot_be_is_refused_whatever_is_asked(
    client: FlaskClient, body: dict[str, Any]
) -> None:
    error = client.post("/invocations", json=body, headers={STICKY: "no such/name"}).json["error"]
    assert (error["code"], error["field"]) == ("invalid_field", STICKY)
