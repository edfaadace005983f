"""OpenAI's own client against the front on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from server.chat.records.turn_records import KeepAlive, TextPiece
from server.errors import ErrorCode, ServiceError
from tests.unit.web.fakes import OVERRIDE, Fakes, result

HELLO: Any = [{"role": "user", "content": "hello there"}]


@pytest.fixture
def openai_client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_plain_completion(openai_client: openai.OpenAI) -> None:
    done = openai_client.chat.completions.create(model="", messages=HELLO, temperature=0.2, max_tokens=64)
    assert done.choices[0].message.content == "You said: hello there"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done.usage.prompt_tokens_details is not None
    assert done.usage.prompt_tokens_details.cached_tokens == 16
    assert done.model == "openchatkit"


def test_a_reply_can_be_sent_back_as_it_came(openai_client: openai.OpenAI, fakes: Fakes) -> None:
    first = openai_client.chat.completions.create(model="", messages=HELLO)
    again: Any = [*HELLO, first.choices[0].message, {"role": "user", "content": "and now?"}]
    assert openai_client.chat.completions.create(model="", messages=again).choices[0].message.content
    history = fakes.turns.requests[1].history
    assert history is not None
    assert [(turn.user, turn.reply) for turn in history] == [("hello there", "You said: hello there")]


def test_a_stream_joined_equals_the_whole(openai_client: openai.OpenAI, fakes: Fakes) -> None:
    fakes.turns.scripts["slow"] = [
        KeepAlive(),
        TextPiece("a "),
        KeepAlive(),
        TextPiece("b"),
        lambda r: result(r, "a b"),
    ]
    stream = openai_client.chat.completions.create(
        model="", messages=[{"role": "user", "content": "slow"}], stream=True, stream_options={"include_usage": True}
    )
    found = list(stream)
    assert found[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices) == "a b"
    assert found[-2].choices[0].finish_reason == "stop"
    assert found[-1].usage is not None
    assert found[-1].usage.completion_tokens == 2


def test_the_client_s_own_stream_helper_understands_the_events(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.stream(model="openchatkit", messages=HELLO) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == "You said: hello there"


@pytest.mark.parametrize("stream", [False, True])
def test_moderated_turns_finish_with_content_filter(openai_client: openai.OpenAI, fakes: Fakes, stream: bool) -> None:
    fakes.turns.scripts["hello there"] = [lambda request: result(request, OVERRIDE, "moderated_input")]
    done: Any = openai_client.chat.completions.create(model="", messages=HELLO, stream=stream)
    choices = [chunk.choices[0] for chunk in done] if stream else done.choices
    assert choices[-1].finish_reason == "content_filter"
    said = "".join(each.delta.content or "" for each in choices) if stream else choices[0].message.content
    assert said == OVERRIDE


@pytest.mark.parametrize(
    ("fields", "raised"),
    [
        ({"tool_choice": "required"}, openai.BadRequestError),
        ({"temperature": 9}, openai.BadRequestError),
        ({"model": "gpt-4o"}, openai.NotFoundError),
    ],
)
def test_refusals_are_raised_with_code_and_param(
    openai_client: openai.OpenAI, fields: dict[str, Any], raised: type[openai.APIStatusError]
) -> None:
    with pytest.raises(raised) as caught:
        openai_client.chat.completions.create(**{"model": "", "messages": HELLO, **fields})
    assert caught.value.param in fields
    assert caught.value.code in ("unsupported_parameter", "invalid_value", "model_not_found")
    assert caught.value.request_id is not None


def test_overload_is_a_rate_limit_error(openai_client: openai.OpenAI, fakes: Fakes) -> None:
    fakes.turns.scripts["hello there"] = [ServiceError(ErrorCode.QUEUE_FULL, "full", retry_after_s=1)]
    with pytest.raises(openai.RateLimitError):
        openai_client.chat.completions.create(model="", messages=HELLO)


def test_a_failure_inside_a_stream_is_raised(openai_client: openai.OpenAI, fakes: Fakes) -> None:
    fakes.turns.scripts["hello there"] = [TextPiece("a"), ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "a rank died")]
    stream = openai_client.chat.completions.create(model="", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="a rank died"):
        list(stream)


def test_moderations_and_models(openai_client: openai.OpenAI) -> None:
    fine, threat = openai_client.moderations.create(input=["hello", "I will kill you"], model="").results
    assert (fine.flagged, threat.flagged) == (False, True)
    assert [model.id for model in openai_client.models.list()] == ["openchatkit"]
