"""Calls as clients make them: what changes nothing is taken, what is not honoured is refused by its field's name."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

SAID = [{"role": "user", "content": "Hello"}]
CHAT, COMPLETE, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
JUDGE, RESPOND = "/v1/moderations", "/v1/responses"
REQUIRED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": SAID}, COMPLETE: {"prompt": "Once"}, EMBED: {"input": "a"}, JUDGE: {"input": "a"},
    RESPOND: {"input": "a"},
}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def part(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": kind, **more}]}]


TAKEN: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"max_completion_tokens": 8, "parallel_tool_calls": False, "tools": [], "tool_choice": "auto"}),
    (CHAT, {"tools": [TOOL], "tool_choice": "none"}),
    (CHAT, {"modalities": ["text"], "prediction": {"type": "content", "content": "a"}, "store": True}),
    (CHAT, {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}),
    (CHAT, {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "n": 1, "max_tokens": -1}),
    (CHAT, dict.fromkeys(("stop", "seed", "tools", "tool_choice", "response_format", "logit_bias", "user", "n"))),
    (CHAT, {"messages": part("input_text", text="Hello")}),
    (CHAT, {"messages": [{"role": "developer", "content": "Be brief."}, *SAID]}),
    (CHAT, {"messages": [*SAID, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                         {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]}]}),
    (CHAT, {"messages": [*SAID, {"role": "assistant", "content": None, "function_call": CALL["function"]},
                         {"role": "function", "name": "f", "content": "42"}]}),
    (CHAT, {"messages": [*SAID, {"role": "assistant", "content": "Hi", "refusal": None, "annotations": [],
                                 "audio": None, "tool_calls": None}, *SAID]}),
    (CHAT, {"chat_template_kwargs": {"enable_thinking": False}, "reasoning": {"effort": "none"}, "keep_alive": "5m"}),
    (COMPLETE, {"prompt": ["a", "b"], "echo": True, "suffix": None, "best_of": 2, "n": 2, "logprobs": 2}),
    (EMBED, {"encoding_format": "base64", "dimensions": 3, "user": "me"}),
    (JUDGE, {"model": "omni-moderation-latest", "user": "me", "input": ["a", {"type": "text", "text": "b"}]}),
    (RESPOND, {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}, "truncation": "auto",
               "tools": [], "tool_choice": "auto", "text": {"format": {"type": "text"}, "verbosity": "low"}}),
    (RESPOND, {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}]}),
]  # fmt: skip
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"tools": [TOOL]}, "tools"),
    (CHAT, {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    (CHAT, {"messages": part("image_url", image_url={"url": "data:,"})}, "messages[0].content[0].type"),
    (CHAT, {"messages": part("input_audio", input_audio={})}, "messages[0].content[0].type"),
    (CHAT, {"messages": part("file", file={"file_id": "x"})}, "messages[0].content[0].type"),
    (CHAT, {"modalities": ["audio"]}, "modalities"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"guided_json": {}}, "guided_json"),
    (CHAT, {"model": "gpt-4o"}, "model"),
    (COMPLETE, {"prompt": [1, 2, 3]}, "prompt"),
    (COMPLETE, {"suffix": "end"}, "suffix"),
    (COMPLETE, {"best_of": 3}, "best_of"),
    (EMBED, {"input": [[1, 2]]}, "input"),
    (EMBED, {"dimensions": 256}, "dimensions"),
    (JUDGE, {"input": [{"type": "image_url", "image_url": {"url": "http://a"}}]}, "input[0].type"),
    (RESPOND, {"tools": [{"type": "web_search"}]}, "tools"),
    (RESPOND, {"conversation": "conv_1"}, "conversation"),
    (RESPOND, {"background": True}, "background"),
]


@pytest.mark.parametrize(("path", "fields"), TAKEN)
def test_what_changes_nothing_is_taken(client: FlaskClient, path: str, fields: dict[str, Any]) -> None:
    response = client.post(path, json={**REQUIRED[path], **fields})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("path", "fields", "param"), REFUSED)
def test_what_is_not_honoured_is_refused_by_name(
    client: FlaskClient, path: str, fields: dict[str, Any], param: str
) -> None:
    response = client.post(path, json={**REQUIRED[path], **fields})
    assert response.status_code in (400, 404)
    assert response.json["error"]["param"] == param


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1//models", "/v1/models/openchatkit", "/"])
def test_heads_and_slashes_are_what_they_were_meant_as(client: FlaskClient, path: str) -> None:
    assert client.head(path).status_code == 200


def test_what_a_route_takes_is_told_before_it_is_asked(client: FlaskClient) -> None:
    assert client.options(CHAT).status_code == 200
    wrong = client.get(CHAT)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "OPTIONS, POST")
