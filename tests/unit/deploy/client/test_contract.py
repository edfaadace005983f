"""The client reads exactly what the server writes: bodies made from the server's own types."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from deploy.client import ChatClient, ChatError, RetryPolicy
from deploy.client.http_transport import HttpTransport
from deploy.client.sagemaker_transport import SageMakerTransport
from deploy.measure.moderation_cases import Case, judge
from server.chat.records.turn_records import Judgement, Source, TurnResult, Usage
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from server.web.call.errors import STATUS, error_body
from server.web.invocations.schema import Invocation, Pieces, SessionAction, invocation_body
from server.web.openai.moderation_schema import ModerationRequest, ModerationResponse, moderation_result
from tests.unit.deploy.container_double import Answer, Container, ContainerHandler, ModerationHandler, serving
from tests.unit.web.keys.made_keys import MadeKeys
from tests.unit.web.loopback import served

JUDGEMENT = Judgement("casual", {"casual": 0.9, "needs intervention": 0.1}, {"casual": -0.1}, blocked=False)
RESULT = TurnResult(
    request_id="inner",
    outputs="The Nile.",
    session_id="s-1",
    finish_reason="length",
    sources=(Source("Nile", "It is long.", 0.5, "d1", url="https://example.org/nile"),),
    moderation={"input": JUDGEMENT, "output": JUDGEMENT},
    usage=Usage(prompt_tokens=9, completion_tokens=2),
    warnings=("the oldest turn was dropped",),
    turn=3,
)


def client_for(container: Container, url: str) -> ChatClient:
    return ChatClient(url, retry=RetryPolicy(sleep=lambda _: None))


def lines(*messages: msgspec.Struct) -> Answer:
    return Answer(lines=tuple(msgspec.json.decode(msgspec.json.encode(message)) for message in messages))


def test_an_answer_of_the_server_becomes_a_reply():
    container = Container()
    container.answers.append(Answer(body=msgspec.json.encode(invocation_body(RESULT, "outer"))))
    with serving(ContainerHandler, container) as url:
        reply = client_for(container, url).chat("Which river?", max_new_tokens=2)
    assert (reply.text, reply.request_id, reply.turn, reply.finish_reason) == ("The Nile.", "outer", 3, "length")
    assert reply.sources[0].url == "https://example.org/nile"
    assert reply.moderation["output"].scores == JUDGEMENT.scores
    assert reply.warnings == RESULT.warnings


def test_a_stream_of_the_server_becomes_text_and_a_reply():
    container = Container()
    container.answers.append(
        lines(Pieces(("The ",)), Pieces(("",)), Pieces(("Nile.",)), invocation_body(RESULT, "outer"))
    )
    with serving(ContainerHandler, container) as url:
        stream = client_for(container, url).stream("Which river?")
        assert list(stream) == ["The ", "Nile."]
    assert stream.reply.usage.prompt_tokens == 9


def test_every_request_of_the_client_is_one_the_server_reads():
    container = Container()
    container.answers.extend(Answer(body=msgspec.json.encode(invocation_body(RESULT, "r"))) for _ in range(2))
    container.answers.extend([lines(invocation_body(RESULT, "r")), Answer(body=b'{"turns": []}'), Answer(body=b"{}")])
    with serving(ContainerHandler, container) as url:
        client = client_for(container, url)
        client.chat("a")
        client.chat("b", temperature=0.5, top_k=3, top_p=0.5, stop=["x"], seed=1, no_retrieval=True, do_sample=True)
        list(client.stream("c", repetition_penalty=1.1))
        client.history()
        client.forget()
    expected: list[Any] = [Invocation, Invocation, Invocation, SessionAction, SessionAction]
    for asked, schema in zip(container.asked, expected, strict=True):
        msgspec.convert(asked, schema)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_arrives_with_status_words_and_whether_to_try_again(code):
    body = error_body(ServiceError(code, "it went wrong", field="inputs", retry_after_s=99.0), "r-1")
    container = Container()
    container.answers.append(Answer(int(STATUS[code]), msgspec.json.encode(body)))
    with serving(ContainerHandler, container) as url, pytest.raises(ChatError) as caught:
        client_for(container, url).chat("a")
    error = caught.value
    assert (error.code, error.message, error.field, error.request_id) == (code.value, "it went wrong", "inputs", "r-1")
    assert (error.status, error.retryable, error.retry_after_s) == (int(STATUS[code]), body.error.retryable, 99.0)


def test_a_verdict_of_the_server_is_read_and_its_question_is_legal():
    container = Container()
    response = ModerationResponse("m-1", "openchatkit", (moderation_result(JUDGEMENT),))
    container.answers.append(Answer(body=msgspec.json.encode(response)))
    with serving(ModerationHandler, container) as url:
        (judged,) = judge(HttpTransport(url, 10.0, "/v1/moderations"), [Case("hi", "casual", False)], "output")
    assert (judged.label, judged.blocked, judged.scores["casual"]) == ("casual", False, 0.9)
    msgspec.convert(container.asked[0], ModerationRequest)


def test_a_key_of_the_environment_opens_a_server_that_asks_for_keys(tmp_path, monkeypatch):
    keys = MadeKeys(tmp_path)
    monkeypatch.setenv("OPENCHATKIT_API_KEY", keys.add("alice"))
    with served(keys.fakes()) as url:
        assert ChatClient(url).chat("hello").text == "You said: hello"
        monkeypatch.delenv("OPENCHATKIT_API_KEY")
        with pytest.raises(ChatError, match="the API key is missing"):
            ChatClient(url).chat("hello")


def test_through_sagemaker_the_key_goes_in_the_header_that_is_passed_on(tmp_path, monkeypatch):
    keys = MadeKeys(tmp_path)
    monkeypatch.setenv("OPENCHATKIT_API_KEY", keys.add("alice"))
    client = create_app(keys.fakes().services).test_client()

    class Runtime:
        def invoke_endpoint(self, Body: bytes, CustomAttributes: str, **_: Any) -> dict[str, Any]:  # noqa: N803
            headers = {"X-Amzn-SageMaker-Custom-Attributes": CustomAttributes}
            answer = client.post("/invocations", data=Body, headers=headers, content_type="application/json")
            return {"Body": io.BytesIO(answer.data)}

    transport = SageMakerTransport(Runtime(), "chat")
    assert ChatClient(transport=transport).chat("hello").text == "You said: hello"
