"""POST /v1/chat/completions as bytes on the wire; the real client is in test_web_openai_client.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import KeepAlive, TextPiece
from server.errors import ErrorCode, ServiceError
from server.wire import Sampling
from tests.unit.web.fakes import OVERRIDE, Fakes, result

PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


def post(client: FlaskClient, **fields: Any) -> Any:
    return client.post(PATH, json={"messages": HELLO, **fields})


def chunks(text: str) -> list[Any]:
    *events, done = [event.removeprefix("data: ") for event in text.removesuffix("\n\n").split("\n\n")]
    assert done == "[DONE]"
    return [event if event.startswith(":") else json.loads(event) for event in events]


def test_the_turn_brings_its_own_history_and_is_not_stored(fakes: Fakes, client: FlaskClient) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "d"},
    ]
    wishes = {"temperature": 0.5, "max_tokens": 9, "stop": "x", "seed": 3, "top_k": 4, "no_retrieval": True}
    response = client.post(PATH, json={"messages": said, **wishes})
    assert response.status_code == 200
    [asked] = fakes.turns.requests
    assert asked.history is not None
    assert [(turn.user, turn.reply) for turn in asked.history] == [("ab", "c")]
    assert (asked.system, asked.text, asked.session_id, asked.retrieval) == ("Be brief.", "d", None, False)
    assert asked.sampling == Sampling(max_new_tokens=9, do_sample=True, temperature=0.5, top_k=4, stop=("x",), seed=3)
    assert fakes.store.sessions == {}


def test_the_answer_has_openai_s_shape_and_the_rest_under_our_own_key(client: FlaskClient) -> None:
    response = client.post(PATH, json={"messages": [{"role": "user", "content": "Who was Lincoln?"}]})
    whole = response.json
    assert whole["id"] == f"chatcmpl-{response.headers['X-Request-Id']}"
    assert (whole["object"], whole["model"]) == ("chat.completion", "openchatkit")
    assert whole["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "You said: Who was Lincoln?", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert whole["usage"] == {
        "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "prompt_tokens_details": {"cached_tokens": 16},
    }  # fmt: skip
    assert whole["openchatkit"]["finish_reason"] == "stop"
    assert whole["openchatkit"]["sources"][0]["title"] == "Abraham Lincoln"
    assert whole["openchatkit"]["moderation"]["output"]["label"] == "casual"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stop", "stop"), ("length", "length"), ("deadline", "length"), ("shutdown", "length"),
        ("moderated_input", "content_filter"), ("moderated_output", "content_filter"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_finish_reasons_are_mapped(fakes: Fakes, client: FlaskClient, ours: str, theirs: str, stream: bool) -> None:
    fakes.turns.scripts["hello"] = [lambda request: result(request, OVERRIDE, ours)]
    response = post(client, stream=stream)
    if stream:
        last = [each for each in chunks(response.text) if each.get("choices")][-1]
        assert last["choices"][0]["finish_reason"] == theirs
        assert last["openchatkit"]["finish_reason"] == ours
    else:
        assert response.json["choices"][0]["finish_reason"] == theirs
        assert response.json["choices"][0]["message"]["content"] == OVERRIDE


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream_is_a_role_pieces_a_finish_reason_usage_and_done(client: FlaskClient, with_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    response = post(client, stream=True, **options)
    assert response.content_type == "text/event-stream; charset=utf-8"
    found = chunks(response.text)
    if with_usage:
        *found, usage = found
        assert usage["choices"] == []
        assert usage["usage"]["total_tokens"] == 23
        assert all(each["usage"] is None for each in found)
    else:
        assert all("usage" not in each for each in found)
    first, *written, last = [each["choices"][0] for each in found]
    assert first["delta"] == {"role": "assistant", "content": ""}
    assert "".join(each["delta"]["content"] for each in written) == "You said: hello"
    assert all(each["finish_reason"] is None for each in (first, *written))
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    assert len({each["id"] for each in found}) == 1


def test_keep_alives_are_comments(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["hello"] = [KeepAlive(), TextPiece("a"), lambda request: result(request, "a")]
    assert ": keep-alive" in chunks(post(client, stream=True).text)


def test_a_moderated_stream_carries_the_override_message_as_content(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["hello"] = [lambda request: result(request, OVERRIDE, "moderated_input")]
    found = chunks(post(client, stream=True).text)
    assert [each["choices"][0]["delta"].get("content") for each in found] == ["", OVERRIDE, None]


def test_a_failure_inside_a_stream_is_an_error_event_before_the_end(fakes: Fakes, client: FlaskClient) -> None:
    fakes.turns.scripts["hello"] = [TextPiece("a"), ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "a rank died")]
    error = chunks(post(client, stream=True).text)[-1]["error"]
    assert (error["code"], error["type"]) == ("engine_unavailable", "server_error")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2), ("n", True), ("n", "1"),
        ("tools", [{"type": "function", "function": {"name": "f"}}]), ("functions", [{"name": "f"}]),
        ("tool_choice", "required"), ("function_call", {"name": "f"}),
        ("logprobs", True), ("top_logprobs", 3), ("logit_bias", {"50256": -100}),
        ("frequency_penalty", 0.5), ("presence_penalty", -1),
        ("response_format", {"type": "json_object"}), ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}), ("prediction", {"type": "content"}), ("reasoning_effort", "high"),
        ("service_tier", "flex"), ("store", True), ("verbosity", "low"), ("web_search_options", {}),
    ],
)  # fmt: skip
def test_a_field_that_is_not_supported_is_refused_with_its_value(
    fakes: Fakes, client: FlaskClient, field: str, value: Any
) -> None:
    response = post(client, **{field: value})
    assert response.status_code == 400
    error = response.json["error"]
    assert (error["code"], error["param"], error["type"]) == ("unsupported_field", field, "invalid_request_error")
    assert error["message"].startswith(f"{field}=")
    assert fakes.turns.requests == []


def test_values_that_ask_for_nothing_are_accepted(client: FlaskClient) -> None:
    harmless: dict[str, Any] = {
        "n": 1, "tools": [], "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "frequency_penalty": 0.0,
        "presence_penalty": 0, "response_format": {"type": "text"}, "tool_choice": "none", "parallel_tool_calls": True,
        "store": False, "service_tier": "auto", "user": "me", "metadata": {"trace": "1"}, "audio": None, "stop": None,
        "stream_options": None, "max_tokens": None, "temperature": None,
    }  # fmt: skip
    assert post(client, **harmless).status_code == 200


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "text": "a"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": "a", "tool_calls": [1]}, *HELLO]},
            "messages[1].tool_calls",
        ),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 2048}, "max_tokens"),
        ({"max_completion_tokens": 4096}, "max_completion_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": ["a"] * 5}, "stop"),
    ],
)
def test_a_bad_field_is_named(fakes: Fakes, client: FlaskClient, fields: dict[str, Any], field: str) -> None:
    response = post(client, **fields)
    assert response.status_code == 400
    assert response.json["error"]["code"] == "invalid_field"
    assert response.json["error"]["param"] == field
    assert fakes.turns.requests == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": [{**HELLO[0], "name": "me"}]}, "messages[0].name is not a known field"),
        ({"messages": HELLO, "stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
        ({"messages": HELLO, "max_new_tokens": 4}, "max_new_tokens is not a known field"),
    ],
)
def test_an_unknown_field_is_refused_where_it_stands(client: FlaskClient, body: dict[str, Any], said: str) -> None:
    response = client.post(PATH, json=body)
    assert response.status_code == 400
    assert response.json["error"]["code"] == "unknown_field"
    assert said in response.json["error"]["message"]


@pytest.mark.parametrize(("model", "status"), [("", 200), (None, 200), ("openchatkit", 200), ("gpt-4o", 404)])
def test_the_model_is_the_served_one_or_empty(client: FlaskClient, model: str | None, status: int) -> None:
    response = post(client, model=model)
    assert response.status_code == status
    if status == 404:
        assert "'openchatkit'" in response.json["error"]["message"]


def test_the_served_model_is_listed_with_its_window(client: FlaskClient) -> None:
    [model] = client.get("/v1/models").json["data"]
    assert (model["id"], model["object"], model["max_model_len"]) == ("openchatkit", "model", 2048)
    assert client.get("/v1/models/openchatkit").json == model
    assert client.get("/v1/models/other/name").status_code == 404
