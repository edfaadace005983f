from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from server.web.app import create_app
from tests.unit.web.fakes import Fakes


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found = client.get("/openapi.json").json
    assert isinstance(found, dict)
    return found


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def body_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    found = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert isinstance(found, dict)
    return found


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_every_route_is_in_the_document_and_nothing_else(document: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).replace("{asked}", "{model}"), method.lower())
        for rule in create_app(Fakes().services).url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == served


def test_the_pages_of_a_history_are_described(document: dict[str, Any]) -> None:
    operation = document["paths"]["/sessions/{session_id}"]["get"]
    limits = {each["name"]: each["schema"] for each in operation["parameters"] if each["in"] == "query"}
    assert limits["after"]["minimum"] == 0
    assert (limits["limit"]["minimum"], limits["limit"]["maximum"]) == (1, 1000)
    assert "next_after" in document["components"]["schemas"]["SessionHistory"]["properties"]
    assert {"after", "limit"} < set(document["components"]["schemas"]["SessionAction"]["properties"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/invocations", {"inputs": "a"}),
        ("/invocations", {"inputs": ["a", "b"], "parameters": {"top_k": 4, "stop": ["x"], "seed": None}}),
        ("/invocations", {"inputs": "a", "stream": True}),
        ("/invocations", {"requestType": "NEW_SESSION"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "n": 1, "tools": []}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
        ("/v1/moderations", {"input": ["a"], "role": "output"}),
        ("/invocations", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/completions", {"prompt": ["a", "b"], "echo": True, "n": 2}),
        ("/v1/completions", {"prompt": "a", "stream": True}),
        ("/v1/embeddings", {"input": ["a", "b"]}),
        ("/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
        ("/v1/responses", {"input": "a"}),
        ("/v1/responses", {"input": [{"role": "user", "content": "a"}], "stream": True}),
        ("/search", {"query": "a", "k": 3}),
    ],
)
def test_what_the_server_takes_and_gives_fits_the_document(
    client: FlaskClient, document: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    validator(document, body_schema(document, path)).validate(body)
    response = client.post(path, json=body)
    assert response.status_code == 200
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    if response.is_json:
        validator(document, content["application/json"]["schema"]).validate(response.json)
    else:
        assert response.mimetype in content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/invocations", {"inputs": ""}),
        ("/invocations", {"inputs": "a", "parameters": {"top_k": -2}}),
        ("/invocations", {"inputs": "a", "unknown": 1}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "n": 0}),
        ("/v1/chat/completions", {"messages": []}),
        ("/v1/moderations", {"input": []}),
        ("/search", {"query": "a", "w_th": 2}),
    ],
)
def test_what_the_server_refuses_does_not_fit_the_document(
    client: FlaskClient, document: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    assert not validator(document, body_schema(document, path)).is_valid(body)
    response = client.post(path, json=body)
    assert response.status_code == 400
    error = document["paths"][path]["post"]["responses"]["400"]["content"]["application/json"]["schema"]
    validator(document, error).validate(response.json)
