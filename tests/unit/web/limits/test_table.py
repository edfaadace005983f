"""Every limit holds: what is exactly at it is taken, one more is refused with the limit and the value found."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.chat.records import session_ids
from server.config import Settings
from server.web.app import create_app
from server.web.limits import table
from tests.unit.web.fakes import Fakes

Ask = Callable[[int], tuple[str, Any]]  # from a size to the path and the body that has it

INVOCATIONS, CHAT, COMPLETIONS = "/invocations", "/v1/chat/completions", "/v1/completions"
MAX_BODY_BYTES = 6 * 1024 * 1024


def text(size: int) -> str:
    return "a" * size


def invocation(**parameters: Any) -> tuple[str, Any]:
    return INVOCATIONS, {"inputs": "Hello", "parameters": parameters}


def chat(**fields: Any) -> tuple[str, Any]:
    return CHAT, {"messages": [{"role": "user", "content": "Hello"}], **fields}


def messages(count: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Hello"}] * count


def of_parts(count: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "x"}] * count}]


def nested(depth: int) -> bytes:
    """A body whose depth counts the object that it is."""
    return b'{"inputs": "Hello", "parameters": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def schema(size: int) -> dict[str, Any]:
    """One that takes so many characters as JSON."""
    bare = {"type": "object", "title": ""}
    return {**bare, "title": text(size - len(json.dumps(bare, separators=(",", ":"))))}


CASES: list[tuple[str, int, Ask]] = [
    ("OCK_MAX_BODY_BYTES", MAX_BODY_BYTES, lambda n: (INVOCATIONS, b'{"inputs": "Hello"}'.ljust(n))),
    ("MAX_INPUTS", table.MAX_INPUTS, lambda n: (INVOCATIONS, {"inputs": ["Hello"] * n})),
    ("MAX_QUESTION_CHARS", table.MAX_QUESTION_CHARS, lambda n: (INVOCATIONS, {"inputs": text(n)})),
    ("MAX_QUESTION_CHARS", table.MAX_QUESTION_CHARS, lambda n: (INVOCATIONS, {"inputs": [text(n)]})),
    ("MAX_QUESTION_CHARS", table.MAX_QUESTION_CHARS, lambda n: (COMPLETIONS, {"prompt": text(n)})),
    ("MAX_QUESTION_CHARS", table.MAX_QUESTION_CHARS, lambda n: ("/v1/responses", {"input": text(n)})),
    ("MAX_MESSAGES", table.MAX_MESSAGES, lambda n: (CHAT, {"messages": messages(n)})),
    ("MAX_MESSAGES", table.MAX_MESSAGES, lambda n: ("/v1/responses", {"input": messages(n), "store": False})),
    ("MAX_MESSAGE_PARTS", table.MAX_MESSAGE_PARTS, lambda n: (CHAT, {"messages": of_parts(n)})),
    ("MAX_CONVERSATION_CHARS", table.MAX_CONVERSATION_CHARS,
     lambda n: (CHAT, {"messages": [{"role": "assistant", "content": text(n - 5)}, *messages(1)]})),
    ("MAX_STOP_STRINGS", table.MAX_STOP_STRINGS, lambda n: invocation(stop=["x"] * n)),
    ("MAX_STOP_CHARS", table.MAX_STOP_CHARS, lambda n: invocation(stop=text(n))),
    ("MAX_SCHEMA_CHARS", table.MAX_SCHEMA_CHARS,
     lambda n: chat(response_format={"type": "json_schema", "json_schema": {"schema": schema(n)}})),
    ("MAX_SCHEMA_CHARS", table.MAX_SCHEMA_CHARS,
     lambda n: ("/v1/responses",
                {"input": "Hello", "text": {"format": {"type": "json_schema", "schema": schema(n)}}})),
    ("MAX_NAME_CHARS", table.MAX_NAME_CHARS,
     lambda n: (CHAT, {"messages": [{"role": "user", "content": "Hello", "name": text(n)}]})),
    ("MAX_METADATA", table.MAX_METADATA, lambda n: chat(metadata={str(i): "x" for i in range(n)})),
    ("MAX_METADATA_CHARS", table.MAX_METADATA_CHARS, lambda n: chat(metadata={"x": text(n)})),
    ("MAX_METADATA_CHARS", table.MAX_METADATA_CHARS, lambda n: chat(metadata={text(n): "x"})),
    ("MAX_REQUEST_ID_CHARS", table.MAX_REQUEST_ID_CHARS,
     lambda n: (INVOCATIONS, {"action": "cancel", "request_id": text(n)})),
    ("session_ids.MAX_CHARS", session_ids.MAX_CHARS, lambda n: invocation(session_id=text(n))),
    ("MAX_SEARCH_CHARS", table.MAX_SEARCH_CHARS, lambda n: ("/search", {"query": text(n)})),
    ("MAX_SEARCH_K", table.MAX_SEARCH_K, lambda n: ("/search", {"query": "Hello", "k": n})),
    ("MAX_SEARCH_K", table.MAX_SEARCH_K, lambda n: invocation(search_k=n)),
    ("MAX_SEARCH_WINDOW", table.MAX_SEARCH_WINDOW, lambda n: ("/search", {"query": "Hello", "w": n})),
    ("MAX_CHOICES", table.MAX_CHOICES, lambda n: chat(n=n)),
    ("MAX_LOGIT_BIASES", table.MAX_LOGIT_BIASES, lambda n: invocation(logit_bias={str(i): 1 for i in range(n)})),
    ("MAX_FILTER_VALUES", table.MAX_FILTER_VALUES, lambda n: invocation(filter={"document": ["x"] * n})),
    ("MAX_FILTER_CHARS", table.MAX_FILTER_CHARS, lambda n: invocation(filter={"url": text(n)})),
    ("MAX_PROMPTS", table.MAX_PROMPTS, lambda n: (COMPLETIONS, {"prompt": ["Hello"] * n})),
    ("MAX_EMBEDDING_TEXTS", table.MAX_EMBEDDING_TEXTS, lambda n: ("/v1/embeddings", {"input": ["x"] * n})),
    ("MAX_EMBEDDING_CHARS", table.MAX_EMBEDDING_CHARS, lambda n: ("/v1/embeddings", {"input": text(n)})),
    ("MAX_MODERATION_TEXTS", table.MAX_MODERATION_TEXTS, lambda n: ("/v1/moderations", {"input": ["x"] * n})),
    ("MAX_MODERATION_CHARS", table.MAX_MODERATION_CHARS, lambda n: ("/v1/moderations", {"input": text(n)})),
    ("MAX_SYSTEM_CHARS", table.MAX_SYSTEM_CHARS, lambda n: invocation(system=text(n))),
    ("MAX_SYSTEM_CHARS", table.MAX_SYSTEM_CHARS,
     lambda n: ("/v1/responses", {"input": "Hello", "instructions": text(n)})),
    ("MAX_FEEDBACK_CHARS", table.MAX_FEEDBACK_CHARS,
     lambda n: ("/sessions/known/turns/1/feedback", {"rating": "up", "text": text(n)})),
]  # fmt: skip
# Limits that are no field's: their tests are elsewhere.
ELSEWHERE = {
    "MAX_JSON_DEPTH": "below",
    "MAX_JSON_CONTAINERS": "below",
    "MAX_SEARCH_ROWS": "below",
    "MAX_KEY_CHARS": "below",
    "MAX_HISTORY_TURNS": "below",
    "MAX_CANCEL_BYTES": "tests/unit/web/sessions/test_turns.py",
    "MAX_KEY_FILE_BYTES": "tests/aws/test_key_source.py",
    "MAX_HISTORY_BYTES": "tests/unit/web/sessions/test_sessions.py",
    "MAX_LISTED_SESSIONS": "tests/unit/web/keys/test_owners.py",
    "MAX_LIST_WORDS_CHARS": "tests/unit/web/keys/test_owners.py",
    "MAX_SEARCHED_TURNS": "tests/unit/web/keys/test_owners.py",
    "MAX_HEAD_BYTES": "tests/unit/web/reception/test_incoming.py",
    "MAX_CHUNKS": "tests/unit/web/reception/test_incoming.py",
    "MAX_CHUNK_LINE_BYTES": "tests/unit/web/reception/test_incoming.py",
    "MAX_UNSENT_BYTES": "tests/unit/web/reception/test_reception.py",
    "MAX_RECEIVED_BYTES": "tests/unit/web/reception/test_reception.py",
    "MAX_DROPPED_BYTES": "tests/unit/web/reception/test_reception.py",
}


@pytest.fixture
def client() -> FlaskClient:
    fakes = Fakes(settings=Settings(max_body_bytes=MAX_BODY_BYTES, threads=12))
    with_session = create_app(fakes.services).test_client()
    assert post(with_session, invocation(session_id="known")) == (200, "")
    return with_session


def post(client: FlaskClient, asked: tuple[str, Any]) -> tuple[int, str]:
    """The status, and the message of an error."""
    path, body = asked
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, data=data, content_type="application/json")
    return answer.status_code, answer.json["error"]["message"] if answer.status_code >= 400 else ""


@pytest.mark.parametrize(
    ("name", "limit", "ask"), CASES, ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(CASES)]
)
def test_what_is_at_a_limit_is_taken_and_one_more_is_refused_by_name_and_number(
    client: FlaskClient, name: str, limit: int, ask: Ask
) -> None:
    assert post(client, ask(limit)) == (200, ""), name
    status, message = post(client, ask(limit + 1))
    assert 400 <= status < 500, name
    assert str(limit) in message, message
    assert str(limit + 1) in message or "aaaaaaaa" in message, message


def test_every_limit_of_the_table_has_a_test() -> None:
    named = {name for name, value in inspect.getmembers(table) if name.startswith("MAX_") and isinstance(value, int)}
    assert named == {name for name, _, _ in CASES if name.startswith("MAX_")} | ELSEWHERE.keys()


def test_a_body_nests_as_deep_as_the_limit_and_no_deeper(client: FlaskClient) -> None:
    assert "expected object" in post(client, (INVOCATIONS, nested(table.MAX_JSON_DEPTH)))[1]
    assert f"deeper than {table.MAX_JSON_DEPTH} levels" in post(client, (INVOCATIONS, nested(33)))[1]


def test_a_body_holds_as_many_objects_as_the_limit_and_no_more(client: FlaskClient) -> None:
    most = table.MAX_JSON_CONTAINERS
    assert "expected object" in post(client, (INVOCATIONS, {"inputs": "x", "parameters": [[]] * (most - 2)}))[1]
    assert f"more than {most} objects" in post(client, (INVOCATIONS, {"inputs": "x", "parameters": [[]] * most}))[1]


def test_a_search_looks_at_as_many_rows_as_the_limit_and_no_more(client: FlaskClient) -> None:
    k = table.MAX_SEARCH_ROWS // (1 + 2 * table.MAX_SEARCH_WINDOW)
    widest = {"query": "Hello", "w": table.MAX_SEARCH_WINDOW}
    assert post(client, ("/search", {**widest, "k": k}))[0] == 200
    status, message = post(client, ("/search", {**widest, "k": k + 1}))
    assert status == 400
    assert f"{(k + 1) * 101} rows" in message
    assert str(table.MAX_SEARCH_ROWS) in message


@pytest.mark.parametrize(("num_chars", "status"), [(255, 200), (256, 400), (16, 200), (15, 400)])
def test_an_idempotency_key_is_neither_longer_nor_shorter_than_is_legal(
    client: FlaskClient, num_chars: int, status: int
) -> None:
    answer = client.post(INVOCATIONS, json={"inputs": "Hello"}, headers={"Idempotency-Key": text(num_chars)})
    assert answer.status_code == status
    if status == 400:
        assert f"16 to 255 printable ASCII characters, found {num_chars}" in answer.json["error"]["message"]


def test_a_page_of_a_history_has_as_many_turns_as_the_limit_and_no_more(client: FlaskClient) -> None:
    most = table.MAX_HISTORY_TURNS
    assert client.get(f"/sessions/known?limit={most}").status_code == 200
    refused = client.get(f"/sessions/known?limit={most + 1}")
    assert refused.status_code == 400
    assert f"<= {most}" in refused.json["error"]["message"]
