"""Who gets in: every route, every way to show a key, and what clients hear."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import TextPiece
from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.web.app import OPERATIONS, create_app
from tests.unit.web.fakes import Fakes, result
from tests.unit.web.keys.made_keys import MadeKeys
from tests.unit.web.loopback import served

OPEN = {"/ping", "/health", "/openapi.json", "/execution-parameters"}
QUESTION = {"inputs": "hello"}
CHAT = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def fakes(keys: MadeKeys) -> Fakes:
    return keys.fakes()


def ask(client: FlaskClient, headers: dict[str, str], **parameters: Any) -> Any:
    return client.post("/invocations", json={**QUESTION, "parameters": parameters}, headers=headers)


def test_every_route_that_does_work_asks_for_a_key(client: FlaskClient) -> None:
    asked = 0
    for operation in OPERATIONS:
        path = operation.path.replace("{session_id}", "x").replace("{turn}", "1").replace("{model}", "m")
        response = client.open(path, method=operation.method.upper(), json=QUESTION if operation.takes else None)
        is_open = operation.path in OPEN or operation.summary == "The chat page."
        assert (response.status_code == 401) is not is_open, operation
        if not is_open:
            asked += 1
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.json is not None
            assert response.json["error"]["code"] == "invalid_api_key"
    assert asked > 12


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer  {} "},
        {"x-api-key": "{}"},
        {"X-Amzn-SageMaker-Custom-Attributes": "api_key={}"},
        {"X-Amzn-SageMaker-Custom-Attributes": "trace=12; API_KEY={} ,c=d"},
        {"Authorization": "Bearer of-the-gateway", "x-api-key": "{}"},
        {"Authorization": "Bearer {}", "x-api-key": "of-the-gateway"},
        {"Authorization": "Basic dXNlcjpwYXNz", "x-api-key": "{}"},
    ],
)
def test_a_key_may_come_in_any_of_the_headers(
    client: FlaskClient, fakes: Fakes, keys: MadeKeys, headers: dict[str, str]
) -> None:
    sent = {name: value.format(keys.secrets["alice"]) for name, value in headers.items()}
    assert ask(client, sent).status_code == 200
    assert fakes.turns.requests[0].caller == "alice"


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer ock-wrong"}, {"x-api-key": "é"}, {"x-api-key": "x" * 9999}]
)
def test_a_wrong_key_takes_no_place_and_reads_no_body(
    client: FlaskClient, fakes: Fakes, headers: dict[str, str]
) -> None:
    response = client.post("/v1/chat/completions", data=b"{", headers=headers)
    assert response.status_code == 401
    assert response.json is not None
    error = response.json["error"]
    assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
    assert "Authorization: Bearer KEY" in error["message"]
    assert fakes.turns.requests == []


def test_without_the_setting_everybody_may_ask_whatever_key_they_send() -> None:
    client = create_app(Fakes().services).test_client()
    assert ask(client, {"Authorization": "Bearer sk-none"}).status_code == 200
    assert client.get("/metrics").status_code == client.get("/ping?detail=1").status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/ping?detail=1"])
def test_what_an_operator_reads_is_the_operators(client: FlaskClient, keys: MadeKeys, path: str) -> None:
    assert client.get(path, headers=keys.headers("olga")).status_code == 200
    refused = client.get(path, headers=keys.headers("alice"))
    assert refused.status_code == 403
    assert refused.json is not None
    assert refused.json["error"]["code"] == "forbidden"
    assert client.get("/ping").status_code == 200


def test_an_operator_sees_what_each_key_has_used(
    client: FlaskClient, keys: MadeKeys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ask(client, keys.headers("alice"))
    ask(client, keys.headers("alice"))
    client.post("/v1/embeddings", json={"input": "x" * 150}, headers=keys.headers("bob"))
    ask(client, {"x-api-key": "ock-wrong"})
    shown = client.get("/metrics", headers=keys.headers("olga")).text
    assert 'ock_key_requests_total{key="alice"} 2.0' in shown
    assert 'ock_key_tokens_total{key="alice"} 46.0' in shown  # 20 of the prompt and 3 of the reply, twice
    assert 'ock_key_tokens_total{key="bob"} 150.0' in shown
    assert "wrong" not in shown
    assert " key=alice\n" in caplog.text


def test_metrics_can_be_left_open_to_a_scraper_that_has_no_key(keys: MadeKeys) -> None:
    client = create_app(keys.fakes(metrics="open").services).test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/ping?detail=1").status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/ping?detail=1"])
@pytest.mark.parametrize("has_keys", [False, True])
def test_what_is_the_operators_is_told_on_their_port_alone(keys: MadeKeys, path: str, has_keys: bool) -> None:
    fakes = keys.fakes(operator_port=9090) if has_keys else Fakes(settings=Settings(operator_port=9090))
    client, headers = create_app(fakes.services).test_client(), keys.headers("olga")
    refused = client.get(path, headers={**headers, "Host": "localhost:9090"}, base_url="http://localhost:8080")
    assert refused.status_code == 403
    assert refused.json is not None
    assert "OCK_OPERATOR_PORT=9090" in refused.json["error"]["message"]
    assert client.get(path, headers=headers, base_url="http://localhost:9090").status_code == 200
    nobody = client.get(path, base_url="http://localhost:9090").status_code
    assert nobody == (401 if has_keys else 200)
    assert client.get("/ping", base_url="http://localhost:8080").status_code == 200


def test_open_metrics_are_open_on_the_operators_port_alone(keys: MadeKeys) -> None:
    client = create_app(keys.fakes(metrics="open", operator_port=9090).services).test_client()
    assert client.get("/metrics", base_url="http://localhost:9090").status_code == 200
    assert client.get("/metrics", base_url="http://localhost:8080").status_code == 403


def test_a_browser_may_ask_before_it_sends_a_key(keys: MadeKeys) -> None:
    client = create_app(keys.fakes(cors_origins="https://app.example").services).test_client()
    response = client.options("/invocations", headers={"Origin": "https://app.example"})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"


def test_too_many_requests_are_told_when_to_come_again(keys: MadeKeys) -> None:
    keys.add("alice", requests_per_minute=1)
    client = create_app(keys.fakes().services).test_client()
    assert ask(client, keys.headers("alice")).status_code == 200
    response = ask(client, keys.headers("alice"))
    assert response.status_code == 429
    assert response.json["error"]["code"] == "rate_limited"
    assert response.json["error"]["retryable"] is True
    assert 55 <= response.json["error"]["retry_after"] == float(response.headers["Retry-After"]) <= 60
    of_openai = client.post("/v1/chat/completions", json=CHAT, headers=keys.headers("alice"))
    assert of_openai.status_code == 429
    assert of_openai.json is not None
    assert (of_openai.json["error"]["code"], of_openai.json["error"]["type"]) == (
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert ask(client, keys.headers("bob")).status_code == 200


def test_a_call_takes_the_tokens_that_it_used_and_no_more(keys: MadeKeys) -> None:
    keys.add("alice", tokens_per_minute=300)
    client = create_app(keys.fakes().services).test_client()
    for _ in range(10):  # each reserves 101 tokens and uses 23
        assert ask(client, keys.headers("alice"), max_new_tokens=100).status_code == 200
        if ask(client, keys.headers("alice"), max_new_tokens=300).status_code == 429:
            break
    else:
        pytest.fail("nothing was taken")
    assert ask(client, keys.headers("alice"), max_new_tokens=100).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_turn_costs_no_tokens(keys: MadeKeys, stream: bool) -> None:
    keys.add("alice", tokens_per_minute=300)
    fakes = keys.fakes()
    fakes.turns.scripts["hello"] = [ServiceError(ErrorCode.QUEUE_FULL, "full")]
    client = create_app(fakes.services).test_client()
    for _ in range(5):
        response = client.post(
            "/invocations",
            json={**QUESTION, "parameters": {"max_new_tokens": 290}, "stream": stream},
            headers=keys.headers("alice"),
        )
        assert response.json is not None
        assert response.json["error"]["code"] == "queue_full"


def test_who_leaves_in_the_middle_of_a_reply_has_had_it(keys: MadeKeys) -> None:
    keys.add("alice", tokens_per_minute=300, concurrent=1)
    fakes = keys.fakes()
    fakes.turns.scripts["hello"] = [TextPiece("a "), TextPiece("b"), lambda request: result(request, "a b")]
    client = create_app(fakes.services).test_client()
    body = {**QUESTION, "stream": True, "parameters": {"max_new_tokens": 290}}
    response = client.post("/invocations", json=body, headers=keys.headers("alice"), buffered=False)
    next(iter(response.response))
    response.close()
    again = client.post("/invocations", json=body, headers=keys.headers("alice"))
    assert again.status_code == 429
    assert again.json is not None
    assert "300 tokens a minute" in again.json["error"]["message"]


def test_a_list_takes_one_place_and_the_tokens_of_all(keys: MadeKeys) -> None:
    keys.add("alice", tokens_per_minute=500, concurrent=1)
    client = create_app(keys.fakes().services).test_client()
    body = {"inputs": ["a", "b", "c"], "parameters": {"max_new_tokens": 100}}
    assert client.post("/invocations", json=body, headers=keys.headers("alice")).status_code == 200
    body["inputs"] = ["a"] * 20
    assert client.post("/invocations", json=body, headers=keys.headers("alice")).status_code == 429


@pytest.mark.parametrize(("path", "text"), [("/v1/embeddings", "x" * 150), ("/v1/moderations", "xxxx" * 150)])
def test_texts_that_are_embedded_or_judged_count(keys: MadeKeys, path: str, text: str) -> None:
    keys.add("alice", tokens_per_minute=100)
    client = create_app(keys.fakes().services).test_client()
    assert client.post(path, json={"input": text}, headers=keys.headers("alice")).status_code == 200
    assert ask(client, keys.headers("alice"), max_new_tokens=1).status_code == 429


def test_calls_of_one_key_take_turns_as_one_and_inputs_of_one_call_too(
    client: FlaskClient, fakes: Fakes, keys: MadeKeys
) -> None:
    client.post("/invocations", json={"inputs": ["a", "b"]}, headers=keys.headers("bob"))
    client.post("/v1/chat/completions", json={**CHAT, "n": 2}, headers=keys.headers("bob"))
    assert {each.caller for each in fakes.turns.requests} == {"bob"}
    unkeyed = Fakes()
    answered = create_app(unkeyed.services).test_client().post("/invocations", json={"inputs": ["a", "b"]})
    assert {each.caller for each in unkeyed.turns.requests} == {answered.headers["X-Request-Id"]}


def test_a_lone_key_has_nobody_to_share_with(keys: MadeKeys) -> None:
    for name in ("bob", "olga"):
        keys.remove(name)
    fakes = keys.fakes()
    client = create_app(fakes.services).test_client()
    ids = [ask(client, keys.headers("alice")).headers["X-Request-Id"] for _ in range(2)]
    assert [each.caller for each in fakes.turns.requests] == ids


def test_moderation_and_search_are_asked_for_by_key(client: FlaskClient, fakes: Fakes, keys: MadeKeys) -> None:
    asked: list[str] = []
    assert fakes.moderator is not None
    judge = fakes.moderator.judge
    fakes.moderator.judge = lambda *given, **named: asked.append(named["caller"]) or judge(*given)  # type: ignore
    client.post("/v1/moderations", json={"input": "hello"}, headers=keys.headers("bob"))
    assert asked == ["bob"]


def test_openais_client_knows_what_is_wrong_by_its_own_names(keys: MadeKeys) -> None:
    keys.add("alice", requests_per_minute=1)
    said: Any = [{"role": "user", "content": "hello"}]
    with served(keys.fakes()) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            client.chat.completions.create(model="", messages=said)
        assert refused.value.code == "invalid_api_key"
        client.api_key = keys.secrets["alice"]
        assert client.models.list().data[0].id == "openchatkit"
        assert client.chat.completions.create(model="", messages=said).choices[0].message.content == "You said: hello"
        with pytest.raises(openai.RateLimitError) as limited:
            client.chat.completions.create(model="", messages=said)
        assert limited.value.code == "rate_limit_exceeded"
        assert int(limited.value.response.headers["Retry-After"]) > 50


def test_no_key_is_written_into_the_log(client: FlaskClient, keys: MadeKeys, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    ask(client, keys.headers("alice"))
    ask(client, {"x-api-key": "ock-wrong"})
    assert keys.secrets["alice"] not in caplog.text
    assert "ock-wrong" not in caplog.text


def test_the_document_says_how_a_key_is_sent(client: FlaskClient) -> None:
    document = json.loads(client.get("/openapi.json").data)
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    assert {"401", "403", "429"} < set(document["paths"]["/invocations"]["post"]["responses"])
