"""The clients that people have, the real ones, against the front on loopback; and bodies of those that need a browser.

The bodies under `bodies/` are written after what the programs' sources and documentation say that they send; a person
can hold them against a running one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.unit.web.fakes import Fakes

BODIES = sorted((Path(__file__).parent / "bodies").glob("*.json"))


@pytest.fixture
def api(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    return f"{url}/v1"


def test_langchain_chats_streams_and_takes_structure(api: str, fakes: Fakes) -> None:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    model = ChatOpenAI(base_url=api, api_key="none", model="openchatkit", max_retries=0, max_tokens=4096)  # type: ignore[arg-type, call-arg]
    call = {"name": "weather", "args": {"at": "Rome"}, "id": "c1"}
    said = [
        SystemMessage("Be brief."),
        HumanMessage("hello", name="ada"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("sunny", tool_call_id="c1"),
        AIMessage("It is."),
        SystemMessage("Late."),
        HumanMessage("and now?"),
    ]
    assert model.invoke(said).content == "You said: and now?"
    assert fakes.turns.requests[-1].system == "Be brief.\nLate."
    assert "".join(str(each.content) for each in model.stream("hi")) == "You said: hi"
    assert [each.content for each in model.batch(["a", "b"])] == ["You said: a", "You said: b"]
    assert model.bind(logprobs=True, stop=["x"] * 5).invoke("a").content == "You said: a"
    fakes.turns.scripts["Where?"] = [lambda request: _said(request, '{"name": "Rome"}')]
    for method in ("json_schema", "json_mode"):
        found = model.with_structured_output(City, method=method).invoke("Where?")  # type: ignore[arg-type]
        assert found == City(name="Rome")
    assert fakes.turns.requests[-1].sampling.json_schema == "{}"


def test_langchain_embeds(api: str) -> None:
    from langchain_openai import OpenAIEmbeddings

    model = OpenAIEmbeddings(
        base_url=api,
        api_key="none",
        model="mini",
        check_embedding_ctx_length=False,  # type: ignore[arg-type, call-arg]
    )
    assert model.embed_documents(["abc", "de"]) == [[3.0, 0.0, 1.0], [2.0, 0.0, 1.0]]
    assert model.embed_query("abc") == [3.0, 0.0, 1.0]


def test_litellm_completes_streams_embeds_and_knows_a_long_prompt(api: str, fakes: Fakes) -> None:
    import litellm

    from server.errors import ErrorCode, ServiceError

    to: dict[str, Any] = {"model": "openai/openchatkit", "api_base": api, "api_key": "none", "num_retries": 0}
    said = [{"role": "user", "content": "hello", "cache_control": {"type": "ephemeral"}}]
    answer = litellm.completion(**to, messages=said, n=2, presence_penalty=0.5, user="me", metadata={"a": "b"})
    assert [each.message.content for each in answer.choices] == ["You said: hello"] * 2
    again = [*said, answer.choices[0].message, {"role": "user", "content": "more"}]
    chunks = list(litellm.completion(**to, messages=again, stream=True, stream_options={"include_usage": True}))
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "You said: more"
    text = litellm.text_completion(**{**to, "model": "text-completion-openai/openchatkit"}, prompt="Once")
    assert text.choices[0].text == "You said: Once"
    embedded = litellm.embedding(**{**to, "model": "openai/mini"}, input=["abc"])
    assert embedded.data[0]["embedding"] == [3.0, 0.0, 1.0]
    fakes.turns.refusals["long"] = ServiceError(ErrorCode.PROMPT_TOO_LONG, "too long", field="inputs")
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**to, messages=[{"role": "user", "content": "long"}])


def test_llm_the_command_line_tool_asks_and_goes_on(api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    model = f"- model_id: ock\n  model_name: openchatkit\n  api_base: {api}\n  api_key_name: ock\n"
    (tmp_path / "extra-openai-models.yaml").write_text(model)
    from llm.cli import cli

    for words, said in ([["hello"], "You said: hello"], [["-c", "more"], "You said: more"]):
        found = CliRunner().invoke(cli, ["prompt", "-m", "ock", "--key", "none", *words], catch_exceptions=False)
        assert found.output.strip() == said


def test_openai_s_newer_and_older_routes(api: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{api}/", api_key="none", max_retries=0) as client:
        first = client.responses.create(model="openchatkit", input="hello", extra_body={"usage": {"include": True}})
        assert first.output_text == "You said: hello"
        with client.responses.stream(
            model="openchatkit",
            input="more",
            previous_response_id=first.id,
            stream_options={"include_obfuscation": False},
        ) as stream:
            assert stream.get_final_response().output_text == "You said: more"
        done = client.completions.create(model="openchatkit", prompt="Once", max_tokens=5)
        assert done.choices[0].text == "You said: Once"
        assert client.embeddings.create(model="mini", input=["abc"]).data[0].embedding == [3.0, 0.0, 1.0]
        for model in ("", "omni-moderation-latest"):
            assert client.moderations.create(input="hello", model=model).results[0].flagged is False
        fine = client.chat.completions.create(
            model="openchatkit",
            messages=[{"role": "user", "content": "hello", "name": "ada"}],
            max_completion_tokens=100_000,
            reasoning_effort="low",
            store=True,
            extra_body={"top_k": -1, "ignore_eos": True, "chat_template_kwargs": {}},
        )
        assert fine.choices[0].message.content == "You said: hello"


@pytest.mark.parametrize("recorded", BODIES, ids=[path.stem for path in BODIES])
def test_a_recorded_body_is_answered(client: FlaskClient, recorded: Path) -> None:
    whole = json.loads(recorded.read_text("utf-8"))
    for call in whole["calls"]:
        response = client.open(call["path"], method=call["method"], json=call.get("body"))
        assert response.status_code == 200, response.text


def _said(request: Any, text: str) -> Any:
    from tests.unit.web.fakes import result

    return result(request, text)
