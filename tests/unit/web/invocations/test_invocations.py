from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import SearchWish, TurnRequest, TurnResult
from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.retrieval.passage_filter import PassageFilter
from server.web.app import create_app
from server.wire import Sampling
from tests.unit.web.fakes import LINCOLN, OVERRIDE, Fakes, result

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def test_a_question_is_answered_with_the_whole_record(client: FlaskClient) -> None:
    response = client.post("/invocations", json={"inputs": "Who was Lincoln?"})
    assert response.status_code == 200
    record = response.json
    assert record["outputs"] == "You said: Who was Lincoln?"
    assert record["finish_reason"] == "stop"
    assert record["sources"] == [
        {"title": LINCOLN.title, "text": LINCOLN.text, "score": 0.875, "document_id": "307", "url": LINCOLN.url}
    ]
    assert set(record["moderation"]) == {"input", "output"}
    assert record["moderation"]["input"] == {
        "label": "casual",
        "scores": {"casual": 0.9, "needs intervention": 0.1},
        "log_probs": {"casual": -1.5, "needs intervention": -1.5},
        "blocked": False,
    }
    assert record["usage"] == {
        "prompt_tokens": 20, "cached_tokens": 16, "completion_tokens": 5, "dropped_turns": 0, "passage_tokens": 0,
    }  # fmt: skip
    assert record["turn"] == 1
    assert record["request_id"] == response.headers["X-Request-Id"]
    assert response.headers[ATTRIBUTES] == f"session_id={record['session_id']}"


def test_the_turn_is_asked_what_the_request_says(fakes: Fakes, client: FlaskClient) -> None:
    parameters = {"session_id": "mine", "no_retrieval": True, "temperature": 0.6, "top_k": 40, "max_new_tokens": 512}
    client.post("/invocations", json={"inputs": "hello", "parameters": parameters})
    [asked] = fakes.turns.requests
    assert asked.text == "hello"
    assert asked.session_id == "mine"
    assert asked.retrieval is False
    assert asked.history is None
    assert asked.deadline_s == fakes.settings.request_deadline_s
    assert asked.sampling == Sampling(max_new_tokens=512, do_sample=True, temperature=0.6, top_k=40)


def test_what_the_request_does_not_say_comes_from_the_settings(fakes: Fakes, client: FlaskClient) -> None:
    client.post("/invocations", json={"inputs": "hello", "parameters": {"no_retrieval": False}})
    [asked] = fakes.turns.requests
    assert (asked.session_id, asked.retrieval) == (None, True)
    assert asked.sampling == Sampling(max_new_tokens=fakes.settings.max_new_tokens)


def test_a_request_says_whether_and_of_what_passages_are_searched(fakes: Fakes, client: FlaskClient) -> None:
    parameters = {
        "retrieval": "required",
        "search_k": 4,
        "filter": {"document": ["a", "b"], "url": "https://a.example"},
    }
    client.post("/invocations", json={"inputs": "hello", "parameters": parameters})
    said = {"messages": [{"role": "user", "content": "hello"}], **parameters}
    client.post("/v1/chat/completions", json=said)
    only = PassageFilter(documents=("a", "b"), urls=("https://a.example",))
    assert [each.search for each in fakes.turns.requests] == [SearchWish(4, True, only)] * 2
    client.post("/invocations", json={"inputs": "hello", "parameters": {"retrieval": "off"}})
    assert fakes.turns.requests[-1].retrieval is False


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"retrieval": "never"}, "parameters.retrieval"),
        ({"retrieval": "auto", "no_retrieval": True}, "parameters.retrieval"),
        ({"search_k": 0}, "parameters.search_k"),
        ({"filter": {"author": "x"}}, "parameters.filter.author"),
        ({"filter": {"url": []}}, "parameters.filter.url"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_by_name(client: FlaskClient, parameters: object, field: str) -> None:
    response = client.post("/invocations", json={"inputs": "hello", "parameters": parameters})
    assert (response.status_code, response.json["error"]["field"]) == (400, field)


def test_the_default_length_leaves_half_of_a_small_window_to_the_prompt() -> None:
    fakes = Fakes(settings=Settings(max_new_tokens=5000))
    create_app(fakes.services).test_client().post("/invocations", json={"inputs": "hello"})
    assert fakes.turns.requests[0].sampling.max_new_tokens == 1024


def test_a_moderated_turn_is_a_success_with_the_override_message(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["threat"] = [lambda request: result(request, OVERRIDE, "moderated_input")]
    response = client.post("/invocations", json={"inputs": "threat"})
    assert response.status_code == 200
    assert response.json["outputs"] == OVERRIDE
    assert response.json["finish_reason"] == "moderated_input"
    assert response.json["moderation"]["input"]["blocked"] is True


def test_a_list_in_gives_a_list_out_in_order(client: FlaskClient) -> None:
    response = client.post("/invocations", json={"inputs": [f"question {number}" for number in range(40)]})
    assert response.status_code == 200
    assert [each["outputs"] for each in response.json] == [f"You said: question {number}" for number in range(40)]
    assert ATTRIBUTES not in response.headers


def test_a_list_of_one_is_still_a_list(client: FlaskClient) -> None:
    assert [each["outputs"] for each in client.post("/invocations", json={"inputs": ["a"]}).json] == ["You said: a"]


def test_the_inputs_of_a_list_run_side_by_side(fakes: Fakes, client: FlaskClient) -> None:
    together = threading.Barrier(4, timeout=30)

    def meet(request: TurnRequest) -> TurnResult:
        together.wait()
        return result(request, "met")

    texts = [f"meet {number}" for number in range(4)]
    fakes.turns.scripts.update({text: [meet] for text in texts})
    assert [each["outputs"] for each in client.post("/invocations", json={"inputs": texts}).json] == ["met"] * 4
    assert len({request.request_id for request in fakes.turns.requests}) == 4


def test_an_input_that_fails_stands_as_an_error_in_its_place(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["full"] = [ServiceError(ErrorCode.QUEUE_FULL, "the queue is full", retry_after_s=3)]
    fakes.turns.scripts["boom"] = [RuntimeError("secret")]
    response = client.post("/invocations", json={"inputs": ["a", "full", "boom"]})
    assert response.status_code == 200
    answered, full, boom = response.json
    assert answered["outputs"] == "You said: a"
    assert full["error"]["code"] == "queue_full"
    assert full["error"]["retry_after"] == 3
    assert boom["error"]["code"] == "internal"
    assert "secret" not in response.text


def test_a_list_of_which_every_input_fails_fails_as_a_whole(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["full"] = [ServiceError(ErrorCode.QUEUE_FULL, "the queue is full", retry_after_s=3)]
    response = client.post("/invocations", json={"inputs": ["full", "full"]})
    assert response.status_code == 429
    assert response.json["error"]["code"] == "queue_full"


def test_nothing_of_a_list_starts_when_one_input_is_bad(fakes: Fakes, client: FlaskClient) -> None:
    assert client.post("/invocations", json={"inputs": ["a", "b", " "]}).status_code == 400
    assert fakes.turns.requests == []


def test_an_input_whose_turn_comes_after_the_deadline_is_not_begun() -> None:
    fakes = Fakes(settings=Settings(request_deadline_s=1e-9))
    response = create_app(fakes.services).test_client().post("/invocations", json={"inputs": ["a", "b"]})
    assert response.status_code == 504
    assert response.json["error"]["code"] == "deadline"
    assert fakes.turns.requests == []


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        (ErrorCode.PROMPT_TOO_LONG, 400, False),
        (ErrorCode.SESSION_NOT_FOUND, 404, False),
        (ErrorCode.SESSION_BUSY, 409, True),
        (ErrorCode.QUEUE_FULL, 429, True),
        (ErrorCode.INTERNAL, 500, False),
        (ErrorCode.ENGINE_UNAVAILABLE, 503, True),
        (ErrorCode.STORE_UNAVAILABLE, 503, True),
        (ErrorCode.SHUTTING_DOWN, 503, True),
        (ErrorCode.DEADLINE, 504, True),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_that_fails_at_once_has_the_table_s_status(
    fakes: Fakes, client: FlaskClient, code: ErrorCode, status: int, retryable: bool, stream: bool
) -> None:
    fakes.turns.scripts["fail"] = [ServiceError(code, "a sentence", field="inputs", retry_after_s=2.5)]
    response = client.post("/invocations", json={"inputs": "fail", "stream": stream})
    assert response.status_code == status
    assert response.headers["Retry-After"] == "2"
    assert response.json["error"] == {
        "code": code.value,
        "message": "a sentence",
        "request_id": response.headers["X-Request-Id"],
        "retryable": retryable,
        "field": "inputs",
        "retry_after": 2.5,
    }


def test_requests_beyond_the_limit_are_refused_and_places_are_given_back() -> None:
    fakes = Fakes(settings=Settings(threads=4))
    app = create_app(fakes.services)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hold(request: TurnRequest) -> TurnResult:
        begun.release()
        assert go_on.wait(30)
        return result(request, "held")

    fakes.turns.scripts["hold"] = [hold]
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(app.test_client().post, "/invocations", json={"inputs": "hold"}) for _ in range(2)]
        assert all(begun.acquire(timeout=30) for _ in held)
        refused = app.test_client().post("/invocations", json={"inputs": "a"})
        assert refused.status_code == 429
        assert refused.json["error"]["retry_after"] > 0
        assert app.test_client().get("/ping").status_code == 200
        go_on.set()
        assert [each.result().status_code for each in held] == [200, 200]
    assert app.test_client().post("/invocations", json={"inputs": "a"}).status_code == 200
