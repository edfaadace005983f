"""POST /v1/completions, /v1/embeddings and the rest of OpenAI's routes as bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from server.web.app import create_app
from tests.unit.web.fakes import Fakes

PATH = "/v1/completions"


def chunks(text: str) -> list[Any]:
    *events, done = [event.removeprefix("data: ") for event in text.removesuffix("\n\n").split("\n\n")]
    assert done == "[DONE]"
    return list(map(json.loads, events))


def test_a_text_is_continued_as_it_stands(fakes: Fakes, client: FlaskClient) -> None:
    whole = client.post(PATH, json={"prompt": "Once upon", "max_tokens": 5, "logprobs": 2, "best_of": 1}).json
    assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "You said: Once upon")
    [asked] = fakes.turns.requests
    assert (asked.as_written, asked.retrieval, asked.history, asked.sampling.logprobs) == (True, False, (), 2)
    assert fakes.store.sessions == {}


def test_prompts_and_choices_are_numbered_through_and_echo_begins_each(client: FlaskClient) -> None:
    body = {"prompt": ["a", "b"], "n": 2, "echo": True}
    choices = client.post(PATH, json=body).json["choices"]
    assert [(each["index"], each["text"]) for each in choices] == [
        (0, "aYou said: a"), (1, "aYou said: a"), (2, "bYou said: b"), (3, "bYou said: b"),
    ]  # fmt: skip


def test_a_stream_joined_equals_the_whole(client: FlaskClient) -> None:
    body = {"prompt": ["a", "b"], "stream": True, "echo": True, "stream_options": {"include_usage": True}}
    *found, usage = chunks(client.post(PATH, json=body).text)
    said = {0: "", 1: ""}
    for each in found:
        said[each["choices"][0]["index"]] += each["choices"][0]["text"]
    assert said == {0: "aYou said: a", 1: "bYou said: b"}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a", " "]}, "prompt[1]"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": ["a"] * 100, "n": 2}, "n"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(client: FlaskClient, body: dict[str, Any], param: str) -> None:
    response = client.post(PATH, json=body)
    assert response.status_code == 400
    assert response.json["error"]["param"] == param


def test_embeddings_are_numbers_or_base64_of_the_same_floats(client: FlaskClient) -> None:
    whole = client.post("/v1/embeddings", json={"input": ["abc", "de"], "model": "mini"}).json
    assert [each["embedding"] for each in whole["data"]] == [[3.0, 0.0, 1.0], [2.0, 0.0, 1.0]]
    assert (whole["model"], whole["usage"]) == ("mini", {"prompt_tokens": 5, "total_tokens": 5})
    packed = client.post("/v1/embeddings", json={"input": "abc", "encoding_format": "base64"}).json
    assert np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4").tolist() == [3.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"input": [[1, 2]]}, "input", "check_embedding_ctx_length=False"),
        ({"input": "a", "dimensions": 2}, "dimensions", "legal is 3"),
        ({"input": "a", "model": "text-embedding-3-small"}, "model", "not served"),
        ({"input": ["a", ""]}, "input[1]", "length"),
    ],
)
def test_embeddings_that_would_be_others_are_refused(
    client: FlaskClient, body: dict[str, Any], param: str, said: str
) -> None:
    error = client.post("/v1/embeddings", json=body).json["error"]
    assert error["param"] == param
    assert said in error["message"]


def test_without_an_index_there_are_no_embeddings() -> None:
    client = create_app(Fakes(retriever=None).services).test_client()
    assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 404


def test_any_response_is_continued_by_its_id(fakes: Fakes, client: FlaskClient) -> None:
    first = client.post("/v1/responses", json={"input": "My name is Ada", "instructions": "Be brief."}).json
    assert first["output"][0]["content"][0]["text"] == "You said: My name is Ada"
    assert (first["status"], first["store"]) == ("completed", True)
    assert fakes.turns.requests[0].system == "Be brief."
    again = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Who am I?"}]}]}
    second = client.post("/v1/responses", json={**again, "previous_response_id": first["id"]}).json
    [turns] = fakes.store.sessions.values()
    assert [turn.user for turn in turns] == ["My name is Ada", "Who am I?"]
    third = client.post("/v1/responses", json={**again, "previous_response_id": first["id"]}).json
    assert third["id"] not in {first["id"], second["id"]}
    assert [request.behind for request in fakes.turns.requests] == [None, 1, 1]
    assert [request.number for request in fakes.turns.requests] == [1, 2, 3]
    assert client.post("/v1/responses", json={**again, "previous_response_id": "resp_x_1"}).status_code == 404


@pytest.mark.parametrize("body", [{"input": "a", "store": False}, {"input": [
    {"role": "user", "content": "a"}, {"type": "message", "role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]}])  # fmt: skip
def test_a_conversation_that_its_client_keeps_is_not_stored(
    fakes: Fakes, client: FlaskClient, body: dict[str, Any]
) -> None:
    assert client.post("/v1/responses", json=body).json["store"] is False
    assert fakes.store.sessions == {}


def test_a_stored_response_is_had_again_with_what_it_was_asked_and_erased(client: FlaskClient) -> None:
    first = client.post("/v1/responses", json={"input": "My name is Ada"}).json
    second = client.post("/v1/responses", json={"input": "Who am I?", "previous_response_id": first["id"]}).json
    address = f"/v1/responses/{second['id']}"
    again = client.get(address).json
    assert (again["id"], again["output"], again["status"]) == (second["id"], second["output"], "completed")
    assert again["previous_response_id"] == first["id"]
    [item] = client.get(f"{address}/input_items").json["data"]
    assert (item["role"], item["content"]) == ("user", [{"type": "input_text", "text": "Who am I?"}])
    assert client.delete(address).json == {"id": second["id"], "object": "response", "deleted": True}
    assert client.get(address).json["error"]["code"] == "session_not_found"
    assert client.delete(address).status_code == 404
    assert client.get(f"/v1/responses/{first['id']}").status_code == 200


def test_any_stored_response_can_be_continued_without_being_stored(fakes: Fakes, client: FlaskClient) -> None:
    first = client.post("/v1/responses", json={"input": "My name is Ada", "instructions": "Be brief."}).json
    client.post("/v1/responses", json={"input": "Who am I?", "previous_response_id": first["id"]})
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    for body in ({"input": "And?", "store": False}, {"input": said}):
        answer = client.post("/v1/responses", json={**body, "previous_response_id": first["id"]}).json
        assert (answer["store"], answer["previous_response_id"]) == (False, first["id"])
        assert client.get(f"/v1/responses/{answer['id']}").status_code == 404
    alone, longer = fakes.turns.requests[-2:]
    assert [(turn.turn, turn.user) for turn in alone.history or ()] == [(1, "My name is Ada")]
    assert [(turn.turn, turn.user) for turn in longer.history or ()] == [(1, "My name is Ada"), (2, "a")]
    [turns] = fakes.store.sessions.values()
    assert [turn.user for turn in turns] == ["My name is Ada", "Who am I?"]
    gone = {"input": "And?", "store": False, "previous_response_id": first["id"][:-1] + "9"}
    assert client.post("/v1/responses", json=gone).status_code == 404


@pytest.mark.parametrize("address", ["resp_x_1", "chatcmpl-1", "resp_!_1", "resp_x_1?stream=true"])
def test_a_response_that_is_not_stored_is_not_made_up(client: FlaskClient, address: str) -> None:
    error = client.get(f"/v1/responses/{address}").json["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == ("stream" if "stream" in address else "response_id")


def test_what_functions_were_asked_and_said_is_read_as_text(fakes: Fakes, client: FlaskClient) -> None:
    called = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Paris"}'}
    said = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
    thought = {"type": "reasoning", "summary": [], "id": "rs_1"}
    body = {"input": [{"role": "user", "content": "Weather?"}, thought, called, said]}
    assert client.post("/v1/responses", json=body).status_code == 200
    [turn] = fakes.turns.requests[0].history
    assert (turn.user, turn.reply) == ("Weather?", 'weather({"city": "Paris"})')
    assert fakes.turns.requests[0].text == "sunny"
    first = client.post("/v1/responses", json={"input": "Weather?"}).json
    more = {"input": [said], "previous_response_id": first["id"]}
    assert client.post("/v1/responses", json=more).json["output"][0]["content"][0]["text"] == "You said: sunny"


def test_what_no_answer_has_may_be_asked_for(client: FlaskClient) -> None:
    asked = {"input": "a", "store": False, "include": ["reasoning.encrypted_content", "file_search_call.results"]}
    assert client.post("/v1/responses", json=asked).status_code == 200
    error = client.post("/v1/responses", json={"input": "a", "include": ["message.output_text.logprobs"]}).json["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "include")


@pytest.mark.parametrize(("item", "param"), [
    ({"content": "a"}, "input[0].role"),
    ({"type": "item_reference", "id": "msg_1"}, "input[0].type"),
    ({"type": "reasoning"}, "input"),
    ({"role": "user", "content": [{"type": "input_image", "image_url": "http://a"}]}, "input[0].content[0].type"),
    ({"role": "user", "content": " "}, "input[0].content"),
])  # fmt: skip
def test_an_item_that_cannot_be_read_is_refused_by_name(client: FlaskClient, item: dict[str, Any], param: str) -> None:
    assert client.post("/v1/responses", json={"input": [item]}).json["error"]["param"] == param


def test_json_lines_are_answered_line_by_line(client: FlaskClient) -> None:
    body = b'{"inputs": "a"}\n\nnot json\n{"inputs": "b", "parameters": {"top_k": 1}}\n'
    response = client.post("/invocations", data=body, content_type="application/jsonlines")
    assert response.content_type == "application/jsonlines"
    first, bad, last = map(json.loads, response.text.splitlines())
    assert (first["outputs"], last["outputs"]) == ("You said: a", "You said: b")
    assert bad["error"]["code"] == "invalid_json"
    assert client.post("/invocations", data=b"\n", content_type="application/jsonlines").status_code == 400
    assert client.get("/execution-parameters").json == {
        "MaxConcurrentTransforms": 6, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1,
    }  # fmt: skip


def test_messages_posted_to_invocations_are_a_chat(fakes: Fakes, client: FlaskClient) -> None:
    said = {"messages": [{"role": "user", "content": "hello"}]}
    assert client.post("/invocations", json=said).json["object"] == "chat.completion"
    error = client.post("/invocations", json={**said, "tool_choice": "required"}).json["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "tool_choice")


def test_health_is_ping_by_another_name(fakes: Fakes, client: FlaskClient) -> None:
    assert client.get("/health").status_code == 200
    fakes.engine.ready = False
    assert client.get("/health").status_code == 503


@pytest.mark.parametrize(
    ("named", "origin", "allowed"),
    [
        ("", "http://a.example", None),
        ("http://a.example, http://b.example", "http://b.example", "http://b.example"),
        ("http://a.example", "http://evil.example", None),
        ("*", "http://evil.example", "*"),
    ],
)
def test_pages_of_the_origins_that_are_named_may_call(named: str, origin: str, allowed: str | None) -> None:
    fakes = Fakes()
    fakes.settings = fakes.settings.model_copy(update={"cors_origins": named})
    client = create_app(fakes.services).test_client()
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = client.options("/v1/chat/completions", headers=asked)
    assert preflight.headers.get("Access-Control-Allow-Origin") == allowed
    if allowed:
        assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert client.get("/ping", headers=asked).headers["Access-Control-Allow-Origin"] == allowed
