from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import Citation, FoundSources, KeepAlive, Source, TextPiece
from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from tests.unit.web.fakes import OVERRIDE, Fakes, result

SSE = {"Accept": "text/event-stream"}
LINES = {"Accept": "application/jsonlines"}
HELLO = {"inputs": "hello there", "stream": True}


def lines(text: str) -> list[Any]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def events(text: str) -> list[Any]:
    """The messages; a comment stands as its own text."""
    assert text.endswith("\n\n")
    found = text.removesuffix("\n\n").split("\n\n")
    assert all("\n" not in event for event in found)
    return [json.loads(event[6:]) if event.startswith("data: ") else event for event in found]


def pieces(messages: list[Any]) -> str:
    said = [each["outputs"] for each in messages if isinstance(each, dict) and "outputs" in each]
    return "".join(outputs[0] for outputs in said if isinstance(outputs, list))


def test_lines_joined_equal_the_whole_and_the_last_is_the_full_record(client: FlaskClient) -> None:
    response = client.post("/invocations", json=HELLO)
    assert response.status_code == 200
    assert response.content_type == "application/jsonlines"
    *written, record = lines(response.text)
    assert all(set(each) == {"outputs"} and len(each["outputs"]) == 1 for each in written)
    assert pieces(written) == record["outputs"] == "You said: hello there"
    assert record["finish_reason"] == "stop"
    assert record["request_id"] == response.headers["X-Request-Id"]
    whole = client.post("/invocations", json={**HELLO, "stream": False}).json
    assert set(record) == set(whole)


def test_events_joined_equal_the_whole_and_the_last_is_the_full_record(client: FlaskClient) -> None:
    response = client.post("/invocations", json=HELLO, headers=SSE)
    assert response.status_code == 200
    assert response.content_type == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    *written, record = events(response.text)
    assert pieces(written) == record["outputs"] == "You said: hello there"


@pytest.mark.parametrize("headers", [SSE, LINES])
def test_a_reply_with_line_ends_and_any_characters_survives_the_wire(
    fakes: Fakes, client: FlaskClient, headers: dict[str, str]
) -> None:
    text = "one\n\ntwo\r\ndata: three\u2028\x00 \U0001f600 : keep-alive\n"
    fakes.turns.scripts["odd"] = [TextPiece(text), lambda request: result(request, text)]
    response = client.post("/invocations", json={"inputs": "odd", "stream": True}, headers=headers)
    body = response.get_data().decode()
    separator = "\n\n" if headers is SSE else "\n"
    first, last = [json.loads(each.removeprefix("data: ")) for each in body.split(separator)[:-1]]
    assert first == {"outputs": [text]}
    assert last["outputs"] == text


@pytest.mark.parametrize(
    ("stream", "accept", "content_type"),
    [
        (None, None, "application/json"),
        (None, "*/*", "application/json"),
        (None, "application/json", "application/json"),
        (None, "text/event-stream", "text/event-stream; charset=utf-8"),
        (None, "application/jsonlines", "application/jsonlines"),
        (None, "application/json, text/event-stream", "application/json"),
        (None, "text/event-stream;q=0", "application/json"),
        (False, "text/event-stream", "application/json"),
        (True, "application/json", "application/jsonlines"),
        (True, "text/event-stream, application/jsonlines", "text/event-stream; charset=utf-8"),
    ],
)
def test_the_body_s_stream_comes_first_and_accept_decides_else(
    client: FlaskClient, stream: bool | None, accept: str | None, content_type: str
) -> None:
    response = client.post(
        "/invocations", json={"inputs": "hello", "stream": stream}, headers={} if accept is None else {"Accept": accept}
    )
    assert response.content_type == content_type


def test_a_stream_names_its_session_before_its_first_piece(fakes: Fakes, client: FlaskClient) -> None:
    response = client.post("/invocations", json=HELLO)
    *_, record = lines(response.text)
    assert response.headers["X-Amzn-SageMaker-Custom-Attributes"] == f"session_id={record['session_id']}"
    assert fakes.turns.requests[0].session_id == record["session_id"]
    assert len(record["session_id"]) == 32


def test_where_sessions_must_be_known_a_stream_s_new_one_is_made_first() -> None:
    fakes = Fakes(settings=Settings(require_session=True))
    create_app(fakes.services).test_client().post("/invocations", json=HELLO)
    assert fakes.turns.requests[0].session_id in fakes.store.sessions


def test_a_stream_has_its_own_deadline(fakes: Fakes, client: FlaskClient) -> None:
    client.post("/invocations", json=HELLO)
    assert fakes.turns.requests[0].deadline_s == fakes.settings.stream_deadline_s


def test_keep_alives_are_comments_in_events_and_empty_pieces_in_lines(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["slow"] = [KeepAlive(), TextPiece("a"), KeepAlive(), lambda request: result(request, "a")]
    body = {"inputs": "slow", "stream": True}
    found = events(client.post("/invocations", json=body, headers=SSE).text)
    assert found[:3] == [": keep-alive", {"outputs": ["a"]}, ": keep-alive"]
    found = lines(client.post("/invocations", json=body).text)
    assert found[:3] == [{"outputs": [""]}, {"outputs": ["a"]}, {"outputs": [""]}]
    assert pieces(found) == "a"


@pytest.mark.parametrize("headers", [SSE, LINES])
def test_a_moderated_stream_ends_with_the_override_message_as_its_last_piece(
    fakes: Fakes, client: FlaskClient, headers: dict[str, str]
) -> None:
    read = events if headers is SSE else lines
    fakes.turns.scripts["in"] = [lambda request: result(request, OVERRIDE, "moderated_input")]
    message, record = read(client.post("/invocations", json={"inputs": "in", "stream": True}, headers=headers).text)
    assert message == {"outputs": [OVERRIDE]}
    assert (record["outputs"], record["finish_reason"]) == (OVERRIDE, "moderated_input")
    fakes.turns.scripts["out"] = [
        TextPiece("Fine so far. "), TextPiece(OVERRIDE), lambda request: result(request, OVERRIDE, "moderated_output"),
    ]  # fmt: skip
    *written, record = read(client.post("/invocations", json={"inputs": "out", "stream": True}, headers=headers).text)
    assert pieces(written) == f"Fine so far. {OVERRIDE}"
    assert record["finish_reason"] == "moderated_output"


@pytest.mark.parametrize("headers", [SSE, LINES])
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "a rank died", retry_after_s=5), "engine_unavailable"),
        (RuntimeError("a secret"), "internal"),
    ],
)
def test_a_failure_after_the_first_event_is_the_stream_s_last_message(
    fakes: Fakes, client: FlaskClient, headers: dict[str, str], failure: Exception, code: str
) -> None:
    fakes.turns.scripts["late"] = [TextPiece("Fine "), failure]
    response = client.post("/invocations", json={"inputs": "late", "stream": True}, headers=headers)
    assert response.status_code == 200
    first, last = (events if headers is SSE else lines)(response.text)
    assert first == {"outputs": ["Fine "]}
    assert last["error"]["code"] == code
    assert last["error"]["request_id"] == response.headers["X-Request-Id"]
    assert "secret" not in response.text
    assert client.post("/invocations", json={"inputs": "hello"}).status_code == 200


def test_closing_a_stream_cancels_its_turn_and_gives_its_place_back(fakes: Fakes) -> None:
    app = create_app(fakes.services)
    fakes.turns.scripts["endless"] = [TextPiece("a "), *[KeepAlive()] * 1000]
    response = app.test_client().post("/invocations", json={"inputs": "endless", "stream": True}, buffered=False)
    written = iter(response.response)
    assert json.loads(next(written)) == {"outputs": ["a "]}
    assert app.extensions["front"].concurrency.num_inside == 1
    response.close()
    assert fakes.turns.cancelled.is_set()
    assert app.extensions["front"].concurrency.num_inside == 0


def test_a_stream_that_is_closed_before_its_first_byte_cancels_its_turn_too(fakes: Fakes) -> None:
    app = create_app(fakes.services)
    fakes.turns.scripts["endless"] = [TextPiece("a "), *[KeepAlive()] * 1000]
    app.test_client().post("/invocations", json={"inputs": "endless", "stream": True}, buffered=False).close()
    assert fakes.turns.cancelled.is_set()
    assert app.extensions["front"].concurrency.num_inside == 0


def test_pieces_leave_one_by_one_as_they_come(fakes: Fakes) -> None:
    app = create_app(fakes.services)
    asked: list[str] = []
    steps = [lambda _, name=name: asked.append(name) or TextPiece(name) for name in "abc"]
    fakes.turns.scripts["steps"] = [*steps, lambda request: result(request, "abc")]
    response = app.test_client().post("/invocations", json={"inputs": "steps", "stream": True}, buffered=False)
    written = iter(response.response)
    for number, name in enumerate("abc", 1):
        assert json.loads(next(written)) == {"outputs": [name]}
        assert len(asked) == number
    response.close()


def test_the_sources_come_before_the_first_text(fakes: Fakes, client: FlaskClient) -> None:
    sources = (Source("Lincoln", "He was president.", 0.5, "307"),)
    citations = (Citation(0, 17, 1),)
    told = lambda request: msgspec.structs.replace(result(request, "He was president."), citations=citations)  # noqa: E731
    fakes.turns.scripts["who"] = [FoundSources(sources), TextPiece("He was president."), told]
    first, second, last = lines(client.post("/invocations", json={"inputs": "who", "stream": True}).text)
    assert first == {"outputs": [""], "sources": [msgspec.to_builtins(sources[0])]}
    assert second == {"outputs": ["He was president."]}
    assert last["citations"] == [{"start": 0, "end": 17, "source": 1}]
    body = {"messages": [{"role": "user", "content": "who"}], "stream": True}
    text = client.post("/v1/chat/completions", json=body).text
    chunks = events(text.removesuffix("data: [DONE]\n\n"))
    assert chunks[1]["choices"] == []
    assert chunks[1]["openchatkit"]["sources"] == first["sources"]
    assert "finish_reason" not in chunks[1]["openchatkit"]
    assert chunks[2]["choices"][0]["delta"]["content"] == "He was president."
    assert chunks[-1]["openchatkit"]["citations"] == last["citations"]
