"""A turn is cancelled, erased or judged by its reader through its own route and through /invocations alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import Turn
from server.chat.store.memory import MemoryRows
from server.chat.store.store import Store
from server.web.app import create_app
from server.web.limits.table import MAX_CANCEL_BYTES
from tests.unit.web.fakes import Fakes


@pytest.fixture
def store() -> Store:
    store = Store(MemoryRows(), clock=lambda: 1.0, session_ttl_s=0, session_lock_s=60)
    for number in (1, 2):
        session = store.load("mine", 10) or store.create("mine")
        claim = store.claim(session, "me")
        store.complete(claim, Turn(number, f"question {number}", f"answer {number}", "stop", 1.0))
    return store


@pytest.fixture
def client(store: Store) -> FlaskClient:
    return create_app(dataclasses.replace(Fakes().services, store=store)).test_client()


def act(client: FlaskClient, **action: Any) -> Any:
    return client.post("/invocations", json=action)


def users(client: FlaskClient) -> list[str]:
    return [turn["user"] for turn in client.get("/sessions/mine").json["turns"]]  # type: ignore[index]


@pytest.mark.parametrize("through_action", [False, True])
def test_one_turn_is_erased_and_the_others_stay(client: FlaskClient, through_action: bool) -> None:
    def delete() -> Any:
        if through_action:
            return act(client, action="delete_turn", session_id="mine", turn=1)
        return client.delete("/sessions/mine/turns/1")

    assert delete().json == {"session_id": "mine", "turn": 1, "done": "deleted"}
    assert users(client) == ["question 2"]
    assert delete().json["error"]["code"] == "session_not_found"


@pytest.mark.parametrize("through_action", [False, True])
def test_feedback_stands_beside_the_turn(client: FlaskClient, through_action: bool) -> None:
    given = {"rating": "down", "text": "wrong year"}
    if through_action:
        assert act(client, action="feedback", session_id="mine", turn=2, **given).status_code == 200
    else:
        assert client.post("/sessions/mine/turns/2/feedback", json=given).status_code == 200
    first, second = client.get("/sessions/mine").json["turns"]  # type: ignore[index]
    assert (first["feedback"], second["feedback"]) == (None, given)
    assert client.post("/sessions/mine/turns/9/feedback", json=given).status_code == 404
    assert client.post("/sessions/mine/turns/2/feedback", json={"rating": "meh"}).status_code == 400


@pytest.mark.parametrize("turn", ["0", "-1", "x", "1e3", "9" * 20])
def test_a_turn_is_named_by_its_number(client: FlaskClient, turn: str) -> None:
    assert client.delete(f"/sessions/mine/turns/{turn}").json["error"]["field"] == "turn"  # type: ignore[index]


def test_a_session_or_a_request_is_cancelled_by_its_name() -> None:
    fakes = Fakes()
    client = create_app(fakes.services).test_client()
    assert client.post("/sessions/mine/cancel").json == {"cancelled": 1}
    assert act(client, action="cancel", session_id="yours").json == {"cancelled": 1}
    assert act(client, action="cancel", request_id="r-1").json == {"cancelled": 1}
    assert fakes.turns.cancelled_names == ["mine", "yours", "r-1"]
    assert act(client, action="cancel").json["error"]["field"] == "session_id"
    assert act(client, action="cancel", session_id="a", request_id="b").status_code == 400


def test_the_idempotency_key_finds_the_turn_and_for_a_first_question_the_session() -> None:
    fakes = Fakes()
    client = create_app(fakes.services).test_client()
    for _ in range(2):
        client.post("/invocations", json={"inputs": "Hi"}, headers={"Idempotency-Key": "k" * 20})
    one, two = fakes.turns.requests
    assert one.key == two.key != ""
    assert one.session_id == two.session_id == f"once-{one.key}"
    short = client.post("/invocations", json={"inputs": "Hi"}, headers={"Idempotency-Key": "1"})
    assert short.json["error"]["field"] == "Idempotency-Key"  # type: ignore[index]


def test_sagemaker_s_inference_id_stands_for_one_question_of_a_known_session() -> None:
    fakes = Fakes()
    client = create_app(fakes.services).test_client()
    for text in ("Hi", "Hi", "Bye"):
        headers = {"X-Amzn-SageMaker-Inference-Id": "1"}
        client.post("/invocations", json={"inputs": text, "parameters": {"session_id": "mine"}}, headers=headers)
    client.post("/invocations", json={"inputs": "Hi"}, headers={"X-Amzn-SageMaker-Inference-Id": "1"})
    first, again, other, new = fakes.turns.requests
    assert first.key == again.key != other.key
    assert not str(new.session_id).startswith("once-"), "anybody may have chosen this id"


@pytest.mark.parametrize("through_action", [False, True])
def test_a_turn_is_cancelled_where_all_places_are_taken(through_action: bool) -> None:
    fakes = Fakes()
    app = create_app(fakes.services)
    client, concurrency = app.test_client(), app.extensions["front"].concurrency
    tickets = [concurrency.enter() for _ in range(concurrency.limit)]
    cancelled = act(client, action="cancel", session_id="a") if through_action else client.post("/sessions/a/cancel")
    assert cancelled.json == {"cancelled": 1}
    assert act(client, action="cancel", session_id="a", messages=[]).json["error"]["code"] == "queue_full"
    assert act(client, inputs='{"action": "cancel"}').json["error"]["code"] == "queue_full"
    assert act(client, action="cancel", request_id="a".ljust(MAX_CANCEL_BYTES)).status_code == 429
    for ticket in tickets:
        ticket.leave()
    assert concurrency.num_inside == 0
