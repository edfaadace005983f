"""ChatClient over real HTTP, at a URL and through boto3 behind an imitation of SageMaker's runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from deploy.client import ChatClient, ChatError, RetryPolicy
from tests.unit.deploy.container_double import (
    Answer,
    Container,
    ContainerHandler,
    SageMakerHandler,
    answered,
    record,
    refused,
    serving,
    streamed,
)


@dataclass
class Bench:
    """A client, the container it talks to, and the waits it took."""

    client: ChatClient
    container: Container
    waits: list[float] = field(default_factory=list)


@pytest.fixture(params=["url", "endpoint"])
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    container, waits = Container(), []
    handler = ContainerHandler if request.param == "url" else SageMakerHandler
    with serving(handler, container) as url:
        if request.param == "url":
            client = ChatClient(url, retry=RetryPolicy(sleep=waits.append))
        else:
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
            client = ChatClient(endpoint_name="talker", region="eu-west-1", retry=RetryPolicy(sleep=waits.append))
        yield Bench(client, container, waits)


def test_an_answer_is_typed(bench):
    bench.container.answers.append(answered("Hé, the Nile. 🐊"))
    reply = bench.client.chat("Which river?")
    assert (reply.text, reply.session_id, reply.finish_reason, reply.turn) == ("Hé, the Nile. 🐊", "s-1", "stop", 1)
    assert reply.sources[0].title == "Nile"
    assert reply.moderation["input"].label == "casual"
    assert reply.usage.cached_tokens == 4
    assert not reply.is_moderated


def test_the_session_is_remembered_until_a_new_one_is_wanted(bench):
    bench.container.answers.extend([answered("one"), answered("two"), answered("three", "s-2"), answered("four")])
    bench.client.chat("a")
    bench.client.chat("b", temperature=0.5)
    bench.client.chat("c", session_id="s-2")
    bench.client.new_session()
    bench.client.chat("d")
    assert [asked["parameters"] for asked in bench.container.asked] == [
        {},
        {"session_id": "s-1", "temperature": 0.5},
        {"session_id": "s-2"},
        {},
    ]


def test_a_full_queue_is_waited_out_for_as_long_as_the_server_asks(bench):
    busy = refused(429, "queue_full", retryable=True, retry_after=3.0)
    bench.container.answers.extend([busy, busy, answered("at last")])
    assert bench.client.chat("hello").text == "at last"
    assert bench.waits == [3.0, 3.0]


def test_a_refusal_keeps_the_servers_own_words_and_is_not_repeated(bench):
    bench.container.answers.append(refused(400, "invalid_field", field="parameters.temperature"))
    with pytest.raises(ChatError) as caught:
        bench.client.chat("hello", temperature=9)
    error = caught.value
    assert (error.code, error.status, error.field, error.request_id) == (
        "invalid_field",
        400,
        "parameters.temperature",
        "r-9",
    )
    assert bench.waits == []


def test_after_the_last_attempt_the_error_is_raised(bench):
    bench.container.answers.extend([refused(503, "engine_unavailable", retryable=True)] * 4)
    with pytest.raises(ChatError, match="engine_unavailable"):
        bench.client.chat("hello")
    assert len(bench.container.asked) == 4
    assert len(bench.waits) == 3


def test_a_wait_longer_than_the_limit_is_left_to_the_caller(bench):
    bench.container.answers.append(refused(429, "queue_full", retryable=True, retry_after=120.0))
    with pytest.raises(ChatError) as caught:
        bench.client.chat("hello")
    assert caught.value.retry_after_s == 120.0
    assert bench.waits == []


def test_an_error_that_the_server_did_not_write_keeps_status_and_text(bench):
    bench.container.answers.append(Answer(502, b"<html>bad gateway</html>"))
    with pytest.raises(ChatError) as caught:
        bench.client.chat("hello")
    assert (caught.value.code, caught.value.retryable) == ("http_502", False)
    assert "bad gateway" in caught.value.message


@pytest.mark.parametrize("seed", range(5))
def test_streamed_pieces_joined_are_the_reply(bench, seed):
    bench.container.seed = seed
    bench.container.answers.append(streamed("Zoë ", "", "said\nso: ", "«ça va» 🐊"))
    stream = bench.client.stream("hello")
    pieces = list(stream)
    assert pieces == ["Zoë ", "said\nso: ", "«ça va» 🐊"]
    assert stream.reply.text == "".join(pieces)
    assert bench.client.session_id == "s-1"
    assert bench.container.asked[0]["stream"] is True


def test_the_reply_is_not_known_before_the_text_has_been_read(bench):
    bench.container.answers.append(streamed("one", "two"))
    with bench.client.stream("hello") as stream:
        assert next(iter(stream)) == "one"
        with pytest.raises(ValueError, match="read to the end"):
            _ = stream.reply


def test_a_refused_stream_is_tried_again(bench):
    bench.container.answers.extend([refused(429, "queue_full", retryable=True), streamed("yes")])
    assert list(bench.client.stream("hello")) == ["yes"]
    assert len(bench.waits) == 1


def test_an_error_inside_a_stream_before_any_text_is_tried_again(bench):
    lost = {"error": {"code": "engine_unavailable", "message": "gone", "request_id": "r", "retryable": True}}
    bench.container.answers.extend([Answer(lines=({"outputs": [""]}, lost)), streamed("yes")])
    assert list(bench.client.stream("hello")) == ["yes"]


def test_an_error_after_text_is_raised_and_never_tried_again(bench):
    lost = {"error": {"code": "engine_unavailable", "message": "gone", "request_id": "r", "retryable": True}}
    bench.container.answers.extend([Answer(lines=({"outputs": ["The "]}, lost)), streamed("yes")])
    stream = bench.client.stream("hello")
    delivered = []
    with pytest.raises(ChatError, match="engine_unavailable"):
        delivered.extend(stream)
    assert delivered == ["The "]
    assert len(bench.container.asked) == 1


def test_a_stream_that_breaks_off_is_an_error_with_the_text_delivered(bench):
    bench.container.answers.append(streamed("The Ni", breaks_off=True))
    delivered = []
    with pytest.raises(ChatError) as caught:
        delivered.extend(bench.client.stream("hello"))
    assert delivered == ["The Ni"]
    assert caught.value.code in ("stream_broken", "connection_lost")
    assert len(bench.container.asked) == 1


def test_a_moderated_stream_ends_with_the_override_message(bench):
    last = record("I would rather not.", finish_reason="moderated_output")
    bench.container.answers.append(streamed("Sure. ", "I would rather not.", last=last))
    stream = bench.client.stream("hello")
    assert "".join(stream) == "Sure. I would rather not."
    assert stream.reply.is_moderated
    assert stream.reply.text == "I would rather not."


def test_a_shutdown_event_before_the_record_does_not_hide_the_record(bench):
    shutdown = {"error": {"code": "server_shutdown", "message": "bye", "request_id": "r", "retryable": True}}
    last = record("The ", finish_reason="shutdown")
    bench.container.answers.append(Answer(lines=({"outputs": ["The "]}, shutdown, last)))
    stream = bench.client.stream("hello")
    assert list(stream) == ["The "]
    assert stream.reply.finish_reason == "shutdown"


def test_a_conversation_is_read_and_erased_through_the_same_door(bench):
    turns = b'{"session_id": "s-1", "turns": [{"turn": 1, "user": "a", "reply": "one"}], "next_after": 1}'
    erased = Answer(body=b'{"session_id": "s-1", "deleted": true}')
    more = b'{"session_id": "s-1", "turns": [{"turn": 2, "user": "b", "reply": "two"}]}'
    bench.container.answers.extend([answered("one"), Answer(body=turns), Answer(body=more), erased])
    bench.client.chat("a")
    assert [turn["reply"] for turn in bench.client.history()] == ["one", "two"]
    bench.client.forget()
    assert bench.container.asked[1:] == [
        {"action": "history", "session_id": "s-1"},
        {"action": "history", "session_id": "s-1", "after": 1},
        {"action": "delete", "session_id": "s-1"},
    ]
    assert bench.client.session_id is None


def test_sagemakers_own_refusal_is_tried_again(monkeypatch):
    container, waits = Container(), []
    container.answers.extend([Answer(503), answered("yes")])
    with serving(SageMakerHandler, container) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        client = ChatClient(endpoint_name="talker", region="eu-west-1", retry=RetryPolicy(sleep=waits.append))
        assert client.chat("hello").text == "yes"
    assert len(waits) == 1


def test_nobody_listening_is_tried_again_and_then_unreachable():
    with serving(ContainerHandler, Container()) as url:
        pass
    waits: list[float] = []
    client = ChatClient(url, retry=RetryPolicy(max_attempts=3, sleep=waits.append))
    with pytest.raises(ChatError) as caught:
        client.chat("hello")
    assert caught.value.code == "unreachable"
    assert len(waits) == 2


def test_a_client_needs_one_place_to_talk_to():
    with pytest.raises(ValueError, match="one of url, endpoint_name and transport"):
        ChatClient()
    with pytest.raises(ValueError, match="2 were given"):
        ChatClient("http://127.0.0.1:1", endpoint_name="talker")
