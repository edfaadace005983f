"""invoke and chat at the terminal, against a real HTTP server."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from deploy.__main__ import VERBS, main
from tests.unit.deploy.container_double import Container, ContainerHandler, answered, refused, serving, streamed

ENDPOINT = """
name = "talker"
region = "eu-west-1"
role = "arn:aws:iam::123456789012:role/talker"
"""


@pytest.fixture
def endpoint_toml(tmp_path: Path) -> Path:
    path = tmp_path / "endpoint.toml"
    path.write_text(ENDPOINT)
    return path


def test_invoke_prints_answer_sources_and_the_session_to_go_on_with(capsys):
    container = Container()
    container.answers.append(answered("The Nile."))
    with serving(ContainerHandler, container) as url:
        assert main(["invoke", "Which river?", "--url", url, "--parameter", "temperature=0.5"]) == 0
    assert capsys.readouterr().out.splitlines() == ["The Nile.", "  [1] Nile (0.90)", "  --session-id s-1"]
    assert container.asked[0]["parameters"] == {"temperature": 0.5}


def test_invoke_streams_and_gives_the_record_as_json(capsys):
    container = Container()
    container.answers.append(streamed("The ", "Nile."))
    with serving(ContainerHandler, container) as url:
        assert main(["invoke", "Which river?", "--url", url, "--stream"]) == 0
        container.answers.append(answered("The Nile."))
        assert capsys.readouterr().out.startswith("The Nile.\n")
        assert main(["invoke", "Which river?", "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["prompt_tokens"] == 12


def test_a_refused_question_is_one_sentence_and_status_1(capsys):
    container = Container()
    container.answers.append(refused(400, "prompt_too_long"))
    with serving(ContainerHandler, container) as url:
        assert main(["invoke", "long", "--url", url]) == 1
    assert capsys.readouterr().err == "error: prompt_too_long: prompt_too_long happened\n"


def test_chat_remembers_the_session_and_survives_an_error(capsys, monkeypatch):
    container = Container()
    container.answers.extend([streamed("One."), refused(400, "prompt_too_long"), streamed("Two."), streamed("Three.")])
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n\nc\n/new\nd\n"))
    with serving(ContainerHandler, container) as url:
        assert main(["chat", "--url", url]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.out.splitlines() if not line.startswith("  ")] == ["One.", "Two.", "Three."]
    assert "error: prompt_too_long" in captured.err
    assert [asked["parameters"] for asked in container.asked] == [
        {},
        {"session_id": "s-1"},
        {"session_id": "s-1"},
        {},
    ]


def test_a_dry_run_prints_the_request_and_sends_nothing(endpoint_toml, capsys):
    assert main(["invoke", "Hé", "--file", str(endpoint_toml), "--dry-run"]) == 0
    request = json.loads(capsys.readouterr().out)
    assert (request["service"], request["operation"]) == ("sagemaker-runtime", "InvokeEndpoint")
    assert json.loads(request["parameters"]["Body"]) == {"parameters": {}, "stream": False, "inputs": "Hé"}
    assert main(["invoke", "Hé", "--url", "http://127.0.0.1:1", "--dry-run", "--stream"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == "http://127.0.0.1:1/invocations"


def test_a_parameter_that_is_not_json_is_named(endpoint_toml, capsys):
    assert main(["invoke", "a", "--file", str(endpoint_toml), "--dry-run", "--parameter", "stop=x"]) == 1
    assert "--parameter stop=x: expected NAME=VALUE, the value as JSON" in capsys.readouterr().err


def test_a_token_is_a_signed_request_that_names_its_action_and_life(endpoint_toml, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    assert main(["token", "--file", str(endpoint_toml), "--hours", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["base_url"] == "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/talker/openai/v1"
    prefix, encoded = printed["api_key"][:18], printed["api_key"][18:]
    signed = base64.b64decode(encoded).decode()
    assert prefix == "sagemaker-api-key-"
    assert signed.startswith("sagemaker.amazonaws.com/?Action=CallWithBearerToken&")
    assert "X-Amz-Expires=7200" in signed
    assert signed.endswith("&Version=1")
    assert "very-secret" not in signed
    assert main(["token", "--file", str(endpoint_toml), "--hours", "13"]) == 1


def test_without_a_verb_the_verbs_are_listed(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(verb in listed for verb in VERBS)
    assert main(["crate"]) == 2
    assert "Did you mean create?" in capsys.readouterr().err
