"""Which names a session may have."""

from __future__ import annotations

import re

import pytest

from server.chat.records.session_ids import check_session_id, new_session_id
from server.errors import ErrorCode, ServiceError

SAGEMAKER = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # what the service takes as a sticky session's id


def test_new_ids_are_legal_everywhere_and_never_repeat() -> None:
    made = {new_session_id() for _ in range(1000)}
    assert len(made) == 1000
    for session_id in made:
        assert check_session_id(session_id) == session_id
        assert SAGEMAKER.fullmatch(session_id)
        assert len(session_id) == 32


@pytest.mark.parametrize("text", ["a", "7", "x" * 128, "User-1.chat_2", "123e4567-e89b-12d3-a456-426614174000"])
def test_an_id_in_the_alphabet_is_taken(text: str) -> None:
    assert check_session_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "a\n",
        "../etc",
        ".",
        "-a",
        "_a",
        "a/b",
        "é",
        "ａ",
        "x" * 129,
        "a\x00",
        "a;b",
        None,
        7,
        True,
        ["a"],
    ],
)
def test_anything_else_is_refused_with_what_is_legal(text: object) -> None:
    with pytest.raises(ServiceError) as caught:
        check_session_id(text)
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert caught.value.field == "parameters.session_id"
    assert "1 to 128" in caught.value.message


def test_a_long_text_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ServiceError) as caught:
        check_session_id("x" * 1_000_000, field="session_id")
    assert len(caught.value.message) < 400
    assert caught.value.field == "session_id"


def test_the_word_that_asks_for_a_new_session_is_no_id() -> None:
    with pytest.raises(ServiceError, match="reserved"):
        check_session_id("NEW_SESSION")
