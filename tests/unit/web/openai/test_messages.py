from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ErrorCode, ServiceError
from server.web.openai.message_schema import ChatMessage
from server.web.openai.messages import conversation


def messages(*pairs: tuple[str, str]) -> list[ChatMessage]:
    return [ChatMessage(role, text) for role, text in pairs]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "system", "turns", "text"),
    [
        ([("user", "a")], "", [], "a"),
        ([("system", "s"), ("user", "a")], "s", [], "a"),
        ([("system", "s"), ("developer", "d"), ("user", "a")], "s\nd", [], "a"),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], "", [("a", "b")], "c"),
        ([("user", "a"), ("user", "b")], "", [], "a\nb"),
        ([("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d")], "", [("a", "b\nc")], "d"),
        ([("assistant", "hello"), ("user", "a")], "", [("", "hello")], "a"),
        ([("user", "a"), ("assistant", ""), ("user", "b")], "", [("a", "")], "b"),
        ([("user", "a"), ("system", "s"), ("user", "b")], "s", [], "a\nb"),
        ([("user", "a"), ("assistant", "b"), ("system", "s"), ("user", "c")], "s", [("a", "b")], "c"),
        ([("user", "a"), ("system", "s")], "s", [], "a"),
        ([("user", "a"), ("assistant", "b"), ("system", "s")], "", [("a", "b")], "s"),
        ([("system", "s"), ("system", "t")], "s", [], "t"),
        ([("user", "a"), ("assistant", "b"), ("tool", "c")], "", [("a", "b")], "c"),
    ],
)
def test_messages_become_a_system_text_turns_and_a_question(
    said: list[tuple[str, str]], system: str, turns: list[tuple[str, str]], text: str
) -> None:
    found = conversation(messages(*said))
    assert found.system == system
    assert [(turn.user, turn.reply) for turn in found.history] == turns
    assert [turn.turn for turn in found.history] == list(range(1, len(turns) + 1))
    assert found.text == text


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ([("assistant", "b")], "messages[0].role"),
        ([("system", "s"), ("assistant", "b")], "messages[1].role"),
        ([("user", "a"), ("assistant", "b"), ("user", " \u200b")], "messages[2].content"),
    ],
)
def test_what_is_no_conversation_that_ends_in_a_question_is_refused(said: list[tuple[str, str]], field: str) -> None:
    with pytest.raises(ServiceError) as caught:
        conversation(messages(*said))
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("said", "text", "begun"),
    [
        ([("user", "a"), ("assistant", "b")], "a", "b"),
        ([("user", "a"), ("assistant", "b"), ("assistant", "c")], "a", "b\nc"),
        ([("user", "a"), ("assistant", " ")], "a", ""),
        ([("system", "s"), ("user", "a"), ("assistant", "b")], "a", "b"),
    ],
)
def test_the_assistant_s_last_words_begin_the_reply(said: list[tuple[str, str]], text: str, begun: str) -> None:
    found = conversation(messages(*said))
    assert (found.text, found.begun, found.history) == (text, begun, ())


texts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts), max_size=12), texts)
def test_no_word_of_a_conversation_is_lost_or_moved(said: list[tuple[Any, str]], question: str) -> None:
    found = conversation(messages(*said, ("user", question)))
    spoken = [part for turn in found.history for part in (turn.user, turn.reply) if part]
    assert "\n".join([*spoken, found.text]) == "\n".join([*(text for _, text in said), question])
