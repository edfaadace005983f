"""Every bad request gets a clear JSON error and has no effect, and the next good one is answered."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.fakes import Fakes

WORK = ["/invocations", "/v1/chat/completions", "/v1/moderations", "/search"]
GOOD: dict[str, dict[str, Any]] = {
    "/invocations": {"inputs": "hello"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/moderations": {"input": "hello"},
    "/search": {"query": "hello"},
}


def said_on(path: str, code: str) -> str:
    """Our word for an error, or OpenAI's on its own routes."""
    theirs = {"invalid_field": "invalid_value", "unknown_field": "unknown_parameter"}
    return theirs.get(code, code) if path.startswith("/v1/") else code


def error_of(response: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The error, after checking its shape."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert set(response.json) == {"error"}
    error: dict[str, Any] = response.json["error"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert isinstance(error["retryable"], bool)
    assert error.get("field") == field
    return error


def assert_no_effect(fakes: Fakes, client: FlaskClient, path: str) -> None:
    assert fakes.turns.requests == []
    assert fakes.store.sessions == {}
    assert fakes.retriever is not None
    assert fakes.retriever.asked == []
    assert client.post(path, json=GOOD[path]).status_code == 200


@pytest.mark.parametrize("path", WORK)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"not json", "invalid_json"),
        (b'{"a": 1, "a": 2}', "invalid_json"),
        (b'{"a": NaN}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'"\xff"', "invalid_json"),
        (rb'{"inputs": "\ud800", "query": "\ud800", "input": "\ud800"}', "invalid_json"),
        (b"[]", "invalid_field"),
        (b"{}", "invalid_field"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    fakes: Fakes, client: FlaskClient, path: str, body: bytes, code: str
) -> None:
    if body.startswith(b"["):
        body = body[: fakes.settings.max_body_bytes]
    response = client.post(path, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json["error"]["code"] == said_on(path, code)
    assert_no_effect(fakes, client, path)


@pytest.mark.parametrize("path", WORK)
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "*/*"],
)
def test_another_content_type_is_refused_by_name(
    fakes: Fakes, client: FlaskClient, path: str, content_type: str | None
) -> None:
    response = client.post(path, data=b'{"inputs": "hello"}', content_type=content_type)
    error = error_of(response, 415, "unsupported_media_type", "Content-Type")
    assert "application/json" in error["message"]
    assert_no_effect(fakes, client, path)


@pytest.mark.parametrize("content_type", [None, "application/octet-stream"])
def test_a_body_without_a_type_is_read_as_json_but_not_from_a_page_of_somebody_else(
    fakes: Fakes, client: FlaskClient, content_type: str | None
) -> None:
    body = b'{"inputs": "hello"}'
    assert client.post("/invocations", data=body, content_type=content_type).status_code == 200
    if content_type is None:
        response = client.post("/invocations", data=body, headers={"Origin": "http://evil.example"})
        error_of(response, 415, "unsupported_media_type", "Content-Type")


@pytest.mark.parametrize("path", ["/v1//moderations", "/v1/moderations/", "/v1//moderations//"])
def test_slashes_too_many_change_nothing(client: FlaskClient, path: str) -> None:
    assert client.post(path, json={"input": "hello"}).status_code == 200


def post_packed(client: FlaskClient, body: bytes, coding: str = "gzip") -> TestResponse:
    headers = {"Content-Encoding": coding}
    return client.post("/invocations", data=body, content_type="application/json", headers=headers)


def test_a_body_in_gzip_is_unpacked_up_to_the_limit(client: FlaskClient) -> None:
    assert post_packed(client, gzip.compress(b'{"inputs": "hello"}')).json["outputs"] == "You said: hello"
    bomb = gzip.compress(b'{"inputs": "' + b" " * 10_000_000)
    error_of(post_packed(client, bomb), 413, "body_too_large")


@pytest.mark.parametrize("body", [b"x", gzip.compress(b"{}")[:-9], gzip.compress(b"{}") + b"x"])
def test_what_is_not_the_gzip_that_it_is_said_to_be_is_refused(client: FlaskClient, body: bytes) -> None:
    error_of(post_packed(client, body), 400, "invalid_json")


def test_a_body_that_is_packed_otherwise_is_refused(client: FlaskClient) -> None:
    error_of(post_packed(client, b"x", "br"), 415, "unsupported_media_type", "Content-Encoding")


@pytest.mark.parametrize("path", WORK)
def test_a_body_over_the_limit_is_refused_with_both_sizes(fakes: Fakes, client: FlaskClient, path: str) -> None:
    limit = fakes.settings.max_body_bytes
    response = client.post(path, data=b" " * (limit + 1), content_type="application/json")
    assert response.status_code == 413
    assert response.json["error"]["code"] == "body_too_large"
    assert f"has {limit + 1} bytes; at most {limit}" in response.json["error"]["message"]
    assert_no_effect(fakes, client, path)


def test_a_body_as_long_as_the_limit_is_read(fakes: Fakes, client: FlaskClient) -> None:
    body = b'{"inputs": "hello"}'
    padded = body[:-1] + b" " * (fakes.settings.max_body_bytes - len(body)) + b"}"
    assert client.post("/invocations", data=padded, content_type="application/json").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": 5}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"inputs": ""}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": ["a", " "]}, "inputs[1]"),
        ({"inputs": ["a", 5]}, "inputs[1]"),
        ({"inputs": ["a"] * 129}, "inputs"),
        ({"inputs": {"text": "a"}}, "inputs"),
        ({"inputs": "a", "parameters": []}, "parameters"),
        ({"inputs": "a", "parameters": "x"}, "parameters"),
        ({"inputs": "a", "parameters": {"top_k": "4"}}, "parameters.top_k"),
        ({"inputs": "a", "parameters": {"stop": ["a", 5]}}, "parameters.stop[1]"),
        ({"inputs": "a", "parameters": {"max_new_tokens": 0}}, "parameters.max_new_tokens"),
        ({"inputs": "a", "parameters": {"session_id": ""}}, "parameters.session_id"),
        ({"inputs": "a", "parameters": {"session_id": "a b"}}, "parameters.session_id"),
        ({"inputs": "a", "parameters": {"session_id": "a\n"}}, "parameters.session_id"),
        ({"inputs": "a", "parameters": {"session_id": "../x"}}, "parameters.session_id"),
        ({"inputs": "a", "parameters": {"session_id": "é"}}, "parameters.session_id"),
        ({"inputs": "a", "parameters": {"session_id": "x" * 129}}, "parameters.session_id"),
        ({"inputs": ["a"], "parameters": {"session_id": "mine"}}, "parameters.session_id"),
        ({"inputs": "a", "stream": "yes"}, "stream"),
        ({"action": "history"}, "session_id"),
        ({"action": "forget", "session_id": "a"}, "action"),
        ({"action": "history", "session_id": "a b"}, "session_id"),
        ({"requestType": "OPEN"}, "requestType"),
    ],
)
def test_a_bad_field_is_named_with_what_was_found(
    fakes: Fakes, client: FlaskClient, body: dict[str, Any], field: str
) -> None:
    error = error_of(client.post("/invocations", json=body), 400, "invalid_field", field)
    assert field in error["message"]
    assert error["retryable"] is False
    assert_no_effect(fakes, client, "/invocations")


BLANK = [
    " \n\t",
    "\u200b\u2060\ufeff",
    "\x00\x01",
    "\u3164",
    "\u2800",
    "\u115f\u1160\uffa0",
    "\u0301\u0308 \ufe0f",
]


@pytest.mark.parametrize("text", BLANK)
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/invocations", lambda text: {"inputs": text}, "inputs"),
        ("/invocations", lambda text: {"inputs": ["a", text]}, "inputs[1]"),
        ("/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": text}]}, "messages[0].content"),
        ("/v1/moderations", lambda text: {"input": text}, "input"),
        ("/v1/moderations", lambda text: {"input": ["a", {"type": "text", "text": text}]}, "input[1].text"),
        ("/search", lambda text: {"query": text}, "query"),
    ],
)
def test_a_text_without_anything_visible_is_refused_on_every_route(
    fakes: Fakes, client: FlaskClient, path: str, body: Callable[[str], dict[str, Any]], field: str, text: str
) -> None:
    error = error_of(client.post(path, json=body(text)), 400, said_on(path, "invalid_field"), field)
    assert "visible text" in error["message"]
    assert_no_effect(fakes, client, path)


@pytest.mark.parametrize("text", ["?", "\u0915\u093e", "\U0001fae8", "\u2800a", "\u200bok"])
def test_a_text_with_anything_visible_is_answered(client: FlaskClient, text: str) -> None:
    assert client.post("/invocations", json={"inputs": text}).status_code == 200
    assert client.post("/v1/moderations", json={"input": text}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "field", "said"),
    [
        ("/invocations", {"inputs": "a", "steam": True}, "steam", "did you mean stream?"),
        ("/invocations", {"inputs": "a", "parameters": {"temprature": 1}}, "parameters.temprature", "temperature"),
        ("/invocations", {"inputs": "a", "parameters": {"zzz": 1}}, "parameters.zzz", "Legal names: session_id, r"),
        ("/invocations", {"inputs": "a", "parameters": {"x" * 9999: 1}}, None, "Legal names: session_id"),
        ("/invocations", {"action": "history", "session_id": "a", "b": 1}, "b", "action, session_id"),
        ("/invocations", {"requestType": "CLOSE", "inputs": "a"}, "inputs", "inputs"),
        ("/search", {"query": "a", "window": 1}, "window", "Legal names: query, k, w, w_th"),
        ("/v1/moderations", {"input": "a", "threshold": 1}, "threshold", "Legal names: input, model, role"),
        (
            "/v1/chat/completions",
            {**GOOD["/v1/chat/completions"], "prompt": "a"},
            "prompt",
            "Legal names: model",
        ),
    ],
)
def test_an_unknown_field_is_refused_with_the_legal_names(
    fakes: Fakes, client: FlaskClient, path: str, body: dict[str, Any], field: str | None, said: str
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 400
    error = response.json["error"]
    assert error["code"] == said_on(path, "unknown_field")
    assert field is None or error["field"] == field
    assert said in error["message"]
    assert len(error["message"]) < 600
    assert_no_effect(fakes, client, path)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": " "}, "query"),
        ({"query": "a", "k": 0}, "k"),
        ({"query": "a", "k": 101}, "k"),
        ({"query": "a", "w": -1}, "w"),
        ({"query": "a", "w_th": 1.5}, "w_th"),
        ({"query": "a", "w_th": "0.5"}, "w_th"),
    ],
)
def test_a_bad_search_is_refused(fakes: Fakes, client: FlaskClient, body: dict[str, Any], field: str) -> None:
    error_of(client.post("/search", json=body), 400, "invalid_field", field)
    assert_no_effect(fakes, client, "/search")


def test_a_list_cannot_be_streamed(fakes: Fakes, client: FlaskClient) -> None:
    for response in (
        client.post("/invocations", json={"inputs": ["a"], "stream": True}),
        client.post("/invocations", json={"inputs": ["a"]}, headers={"Accept": "text/event-stream"}),
    ):
        error_of(response, 400, "unsupported_field", "stream")
    assert_no_effect(fakes, client, "/invocations")


def test_a_failure_of_our_own_says_nothing_but_its_request_id(
    fakes: Fakes, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    fakes.turns.scripts["boom"] = [RuntimeError("a secret detail")]
    error = error_of(client.post("/invocations", json={"inputs": "boom"}), 500, "internal")
    assert "secret" not in error["message"]
    assert f"request.failed id={error['request_id']}" in caplog.text
    assert client.post("/invocations", json={"inputs": "hello"}).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/invocations/x", "/static/page.js", "/page/page.js", "/../secret"])
def test_an_unknown_path_is_404_in_the_same_shape(client: FlaskClient, path: str) -> None:
    error_of(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "legal"),
    [
        ("GET", "/invocations", "OPTIONS, POST"),
        ("POST", "/ping", "GET, HEAD, OPTIONS"),
        ("PUT", "/sessions/abc", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/chat/completions", "OPTIONS, POST"),
    ],
)
def test_a_wrong_method_is_405_with_the_legal_ones(client: FlaskClient, method: str, path: str, legal: str) -> None:
    response = client.open(path, method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == legal
    assert f"legal methods are {legal}" in response.json["error"]["message"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", "a\tb", "-a", "é"])
def test_an_unsafe_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    response = client.get("/ping", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] != given
    assert response.headers["X-Request-Id"].startswith("req-")


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Amzn-SageMaker-Inference-Id"])
def test_a_safe_request_id_is_kept(fakes: Fakes, client: FlaskClient, header: str) -> None:
    response = client.post("/invocations", json={"inputs": "hello"}, headers={header: "trace-1.2:3_4"})
    assert response.headers["X-Request-Id"] == "trace-1.2:3_4"
    assert response.json["request_id"] == "trace-1.2:3_4"
    assert fakes.turns.requests[0].request_id.startswith("trace-1.2:3_4.")
