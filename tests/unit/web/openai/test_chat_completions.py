"""POST /v1/chat/completions as bytes on the wire; the real client is in test_web_openai_client.py."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from server.chat.records.turn_records import KeepAlive, TextPiece
from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from server.wire import Alternative, Sampling, TokenLogprobs
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


@pytest.mark.parametrize(("path", "body"), [(PATH, {"messages": HELLO}), ("/v1/completions", {"prompt": "hello"})])
def test_every_chunk_with_text_says_the_usage_so_far_where_that_is_asked_for(
    fakes: Fakes, client: FlaskClient, path: str, body: dict[str, Any]
) -> None:
    fakes.turns.scripts["hello"] = [
        *(TextPiece("Well: "), TextPiece("a ", 20, 2), TextPiece("b", 20, 3), TextPiece("!")),
        lambda asked: result(asked, "Well: a b!"),
    ]
    options = {"include_usage": True, "continuous_usage_stats": True}
    found = chunks(client.post(path, json={**body, "stream": True, "stream_options": options}).text)
    counts = [each["usage"] for each in found if each.get("usage")]
    assert [each["completion_tokens"] for each in counts] == [2, 3, 3, 3, 3]
    assert [each["total_tokens"] for each in counts] == [22, 23, 23, 23, 23]
    assert [each["prompt_tokens_details"] for each in counts] == [None] * 4 + [{"cached_tokens": 16}]
    plain = chunks(client.post(path, json={**body, "stream": True, "stream_options": {"include_usage": True}}).text)
    assert [each["usage"]["completion_tokens"] for each in plain if each.get("usage")] == [3]


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
        ("tools", [{"type": "function", "function": {"name": "f"}}]), ("functions", [{"name": "f"}]),
        ("tool_choice", "required"), ("function_call", {"name": "f"}), ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}), ("web_search_options", {}),
        ("best_of", 4), ("use_beam_search", True), ("stop_token_ids", [1]), ("bad_words", ["a"]),
        ("chat_template", "x"), ("prompt_logprobs", 3), ("include_stop_str_in_output", True), ("suffix", "x"),
    ],
)  # fmt: skip
def test_a_field_that_would_change_the_answer_is_refused_with_its_value(
    fakes: Fakes, client: FlaskClient, field: str, value: Any
) -> None:
    response = post(client, **{field: value})
    assert response.status_code == 400
    error = response.json["error"]
    assert (error["code"], error["param"], error["type"]) == ("unsupported_parameter", field, "invalid_request_error")
    assert error["message"].startswith(f"{field}=")
    assert fakes.turns.requests == []


def test_fields_and_values_that_change_nothing_are_accepted(fakes: Fakes, client: FlaskClient) -> None:
    harmless: dict[str, Any] = {
        "prediction": {"type": "content", "content": "a"}, "n": 1, "tools": [], "logprobs": False, "top_logprobs": 0,
        "logit_bias": {}, "frequency_penalty": 0.0,
        "presence_penalty": 0, "response_format": {"type": "text"}, "tool_choice": "none", "parallel_tool_calls": True,
        "store": True, "service_tier": "flex", "user": "me", "metadata": {"trace": 1}, "audio": None, "stop": None,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True}, "max_tokens": None,
        "temperature": None, "reasoning_effort": "high", "verbosity": "low", "skip_special_tokens": True,
        "chat_template_kwargs": {"enable_thinking": False}, "use_beam_search": False, "top_k": -1, "cache_salt": "a",
    }  # fmt: skip
    assert post(client, **harmless).status_code == 200
    [asked] = fakes.turns.requests
    assert asked.sampling == Sampling(max_new_tokens=256, do_sample=True)


def test_tools_that_must_not_be_called_change_nothing(client: FlaskClient) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert post(client, tools=tools, tool_choice="none").status_code == 200


def test_sampling_fields_reach_the_engine_as_they_are(fakes: Fakes, client: FlaskClient) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    asked = {
        "min_p": 0.1, "frequency_penalty": 0.5, "presence_penalty": -1, "logit_bias": {"50256": -100}, "min_tokens": 3,
        "ignore_eos": True, "logprobs": True, "top_logprobs": 2, "stop": ["a", "", "b", "c", "d", "e"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}},
    }  # fmt: skip
    assert post(client, **asked).status_code == 200
    sampling = fakes.turns.requests[0].sampling
    assert (sampling.min_p, sampling.frequency_penalty, sampling.presence_penalty) == (0.1, 0.5, -1)
    assert sampling.logit_bias == ((50256, -100),)
    assert (sampling.min_tokens, sampling.ignore_eos, sampling.logprobs) == (3, True, 2)
    assert sampling.stop == ("a", "b", "c", "d", "e")
    assert sampling.json_schema is not None
    assert json.loads(sampling.json_schema) == schema
    post(client, response_format={"type": "json_object"}, logprobs=True)
    post(client, response_format={"type": "json_object", "schema": {"type": "integer"}})
    assert (fakes.turns.requests[1].sampling.json_schema, fakes.turns.requests[1].sampling.logprobs) == ("{}", 0)
    assert fakes.turns.requests[2].sampling.json_schema == '{"type":"integer"}'


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_turns_of_their_own_with_seeds_of_their_own(
    fakes: Fakes, client: FlaskClient, stream: bool
) -> None:
    response = post(client, n=3, seed=2**63 - 1, stream=stream, stream_options={"include_usage": True})
    assert {request.sampling.seed for request in fakes.turns.requests} == {2**63 - 1, -(2**63), 1 - 2**63}
    assert len({request.request_id for request in fakes.turns.requests}) == 3
    if not stream:
        choices = response.json["choices"]
        assert [each["index"] for each in choices] == [0, 1, 2]
        assert {each["message"]["content"] for each in choices} == {"You said: hello"}
        assert response.json["usage"]["completion_tokens"] == 9
        return
    *found, usage = chunks(response.text)
    said = dict.fromkeys(range(3), "")
    for each in found:
        [choice] = each["choices"]
        said[choice["index"]] += choice["delta"].get("content", "")
    assert set(said.values()) == {"You said: hello"}
    assert usage["usage"]["completion_tokens"] == 9


def test_log_probabilities_come_with_their_bytes_and_alternatives(fakes: Fakes, client: FlaskClient) -> None:
    chosen = Alternative(5, b"\xc3", -0.5)
    tokens = (TokenLogprobs(chosen, (chosen, Alternative(6, b"e", -1.0))),)
    fakes.turns.scripts["hello"] = [lambda asked: msgspec.structs.replace(result(asked, "e"), logprobs=tokens)]
    [token] = post(client, logprobs=True, top_logprobs=2).json["choices"][0]["logprobs"]["content"]
    assert (token["token"], token["bytes"], token["logprob"]) == ("\ufffd", [0xC3], -0.5)
    assert [(each["token"], each["logprob"]) for each in token["top_logprobs"]] == [("\ufffd", -0.5), ("e", -1.0)]
    last = chunks(post(client, logprobs=True, top_logprobs=2, stream=True).text)[-1]
    assert last["choices"][0]["logprobs"]["content"] == [token]


def test_what_a_message_holds_beside_its_text_is_taken(fakes: Fakes, client: FlaskClient) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at": "Rome"}'}}
    cached = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    said = [
        {"role": "user", "content": [cached], "name": "me", "id": "m1"},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm", "refusal": None},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        {"role": "system", "content": "Late word."},
        {"role": "assistant", "content": "It is sunny.", "tool_calls": [], "provider_specific_fields": {}},
        {"role": "user", "content": "Thanks"},
    ]
    assert client.post(PATH, json={"messages": said}).status_code == 200
    [asked] = fakes.turns.requests
    assert [(turn.user, turn.reply) for turn in asked.history or ()] == [
        ("a", 'weather({"at": "Rome"})'),
        ("sunny", "It is sunny."),
    ]
    assert (asked.system, asked.text) == ("Late word.", "Thanks")


def test_what_an_assistant_refused_with_is_text_and_a_picture_is_refused_with_what_is_legal(
    fakes: Fakes, client: FlaskClient
) -> None:
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}
    assert client.post(PATH, json={"messages": [*HELLO, refused, *HELLO]}).status_code == 200
    assert [turn.reply for turn in fakes.turns.requests[0].history or ()] == ["I will not."]
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    error = client.post(PATH, json={"messages": [picture]}).json["error"]
    assert error["param"] == "messages[0].content[0].type"
    assert error["message"].endswith("='image_url': legal are text, input_text, output_text, refusal")


@pytest.mark.parametrize(
    ("field", "value", "legal"),
    [
        ("retrieval", "maybe", "off, auto, required"),
        ("response_format", {"type": "xml"}, "text, json_object, json_schema"),
        ("messages", [{"role": "boss"}], "assistant, developer, function, system, tool, user"),
    ],
)
def test_a_word_that_is_not_one_of_the_legal_ones_is_refused_with_them(
    client: FlaskClient, field: str, value: Any, legal: str
) -> None:
    message = post(client, **{field: value}).json["error"]["message"]
    assert set(message.partition("legal are ")[2].split(", ")) == set(legal.split(", "))


def test_a_last_message_of_the_assistant_begins_the_reply(fakes: Fakes, client: FlaskClient) -> None:
    said = [*HELLO, {"role": "assistant", "content": "Once upon"}]
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    assert client.post(PATH, json={"messages": said, **fields}).status_code == 200
    assert (fakes.turns.requests[0].text, fakes.turns.requests[0].begun) == ("hello", "Once upon")
    assert post(client, continue_final_message=True).status_code == 400


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "pirate", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "text": "a"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": "a", "tool_calls": [1]}, *HELLO]},
            "messages[1].tool_calls[0]",
        ),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"stop": ["a"] * 65}, "stop"),
        ({"n": 17}, "n"),
        ({"n": True}, "n"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias['x']"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_a_bad_field_is_named(fakes: Fakes, client: FlaskClient, fields: dict[str, Any], field: str) -> None:
    response = post(client, **fields)
    assert response.status_code == 400
    assert response.json["error"]["code"] == "invalid_value"
    assert response.json["error"]["param"] == field
    assert fakes.turns.requests == []


def test_an_answer_longer_than_the_window_is_cut_or_where_the_settings_say_so_refused(fakes: Fakes) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        assert post(create_app(fakes.services).test_client(), **{name: 4096}).status_code == 200
        assert fakes.turns.requests[-1].clamp
        strict = Fakes(settings=Settings(long_replies="refuse"))
        response = post(create_app(strict.services).test_client(), **{name: 4096})
        assert response.json["error"]["param"] == name
    assert post(create_app(fakes.services).test_client(), max_tokens=-1).status_code == 200
    assert fakes.turns.requests[-1].sampling.max_new_tokens == 2048


def test_a_prompt_that_is_too_long_has_openai_s_word(fakes: Fakes, client: FlaskClient) -> None:
    too_long = ServiceError(ErrorCode.PROMPT_TOO_LONG, "3000 tokens; the window is 2048", field="inputs")
    fakes.turns.refusals["hello"] = too_long
    error = post(client).json["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert client.post("/invocations", json={"inputs": "hello"}).json["error"]["code"] == "prompt_too_long"


def test_a_shutdown_in_mid_stream_is_a_length_and_no_error_that_a_client_raises(
    fakes: Fakes, client: FlaskClient
) -> None:
    fakes.turns.scripts["hello"] = [TextPiece("a"), lambda request: result(request, "a", "shutdown")]
    found = chunks(post(client, stream=True).text)
    assert all("error" not in each for each in found)
    assert found[-1]["choices"][0]["finish_reason"] == "length"
    assert found[-1]["openchatkit"]["finish_reason"] == "shutdown"


def test_an_unknown_field_is_refused_by_name(client: FlaskClient) -> None:
    error = post(client, max_new_tokens=4).json["error"]
    assert (error["code"], error["param"]) == ("unknown_parameter", "max_new_tokens")
    assert "did you mean" in error["message"]


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
