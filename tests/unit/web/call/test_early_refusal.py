"""What is refused early is told as the application would have told it, and what it alone can tell is left to it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from server.web.app import create_app
from tests.unit.web.fakes import Fakes
from tests.unit.web.keys.made_keys import MadeKeys

BODY = b'{"messages": [{"role": "user", "content": "Hello"}]}'


def post(path: str, body: bytes = BODY, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body


@pytest.fixture
def keys(tmp_path: Path) -> MadeKeys:
    made = MadeKeys(tmp_path)
    made.add("alice")
    made.add("olga", role="operator")
    return made


@pytest.fixture
def app() -> Flask:
    return create_app(Fakes().services)


def fill(app: Flask) -> ExitStack:
    stack, concurrency = ExitStack(), app.extensions["front"].concurrency
    for _ in range(concurrency.limit):
        stack.callback(concurrency.enter().leave)
    return stack


def refused(app: Flask, request: bytes) -> bytes | None:
    answer: bytes | None = app.extensions["refuse_early"](request)
    return answer


def error_of(body: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(body)["error"]
    assert error.pop("request_id").startswith("req-")
    return error


@pytest.mark.parametrize("path", ["/invocations", "/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_a_full_server_refuses_turns_early_in_the_words_of_the_application(app: Flask, path: str) -> None:
    assert refused(app, post(path)) is None
    with fill(app):
        head, _, body = (refused(app, post(path)) or b"").partition(b"\r\n\r\n")
        late = app.test_client().post(path, data=BODY, content_type="application/json")
    assert late.status_code == 429
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert f"Retry-After: {late.headers['Retry-After']}".encode() in head
    assert error_of(body) == error_of(late.data)
    counted = app.test_client().get("/metrics").text
    assert f'ock_requests_total{{code="queue_full",route="{path}",status="429"}} 2.0' in counted
    assert refused(app, post(path)) is None, "there is room again"


@pytest.mark.parametrize(
    "request_",
    [
        post("/invocations", b'{"action": "cancel", "session_id": "s"}'),
        post("/invocations", b'{"requestType": "CLOSE"}'),
        post("/invocations", BODY, "X-Amzn-SageMaker-Session-Id: NEW_SESSION"),
        post("/invocations", b'{"inputs" : ["a", "b"]}'),
        post("/invocations", BODY, "Content-Encoding: gzip"),
        post("/invocations", BODY, "Transfer-Encoding: chunked"),
        post("/invocations", BODY, "Content-Type: application/jsonlines"),
        post("/v1/chat/completions", BODY, "Origin: http://elsewhere"),
        post("/sessions/s/cancel", b""),
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_plain_turn_is_left_to_the_application(app: Flask, request_: bytes) -> None:
    with fill(app):
        assert refused(app, request_) is None


def test_the_client_s_own_request_id_is_kept(app: Flask) -> None:
    with fill(app):
        answer = refused(app, post("/v1/chat/completions", BODY, "X-Request-Id: mine-1")) or b""
    assert b"\r\nX-Request-Id: mine-1\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["request_id"] == "mine-1"


def test_keys_are_looked_at_and_each_has_its_share(keys: MadeKeys) -> None:
    keys.add("bob", requests_per_minute=2)
    app = create_app(keys.fakes().services)
    concurrency = app.extensions["front"].concurrency
    asked = {
        name: post("/invocations", BODY, f"Authorization: Bearer {keys.secrets[name]}") for name in ("alice", "bob")
    }
    with ExitStack() as stack:
        for name in ["bob", *["alice"] * (concurrency.limit - 2)]:
            stack.callback(concurrency.enter(name).leave)
        assert b'"queue_full"' in (refused(app, asked["alice"]) or b""), "it has more than its share"
        assert refused(app, asked["bob"]) is None, "the last place is for whoever has less"
        stack.callback(concurrency.enter("bob").leave)
        assert b'"queue_full"' in (refused(app, asked["bob"]) or b"")
        assert refused(app, post("/invocations")) is None, "without a key, the application tells"
        assert b'"queue_full"' in (refused(app, asked["bob"]) or b"")
        assert refused(app, asked["bob"]) is None, "it has used its two requests, which the application tells"
    counted = app.test_client().get("/metrics", headers=keys.headers("olga")).text
    assert 'ock_key_requests_total{key="bob"} 2.0' in counted


def test_a_server_that_is_shutting_down_says_so_itself(app: Flask) -> None:
    with fill(app):
        app.extensions["front"].concurrency.close()
        assert refused(app, post("/invocations")) is None
