"""Blanks take nothing from a text: what a question says is asked, or the question is refused, however it is padded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.tokenizer import ChatTokenizer
from server.errors import ErrorCode, ServiceError
from tests.unit.chat.prompt.chat_tokenizers import KINDS, chat_tokenizer

WINDOW = 128
paddings = st.tuples(st.sampled_from([" ", "\n", "\t", "\u3000", " \n", "\x1c"]), st.integers(0, 100_000))


def budget(tokenizer: ChatTokenizer) -> int:
    """As many characters as are read of a text."""
    return 2 * (WINDOW + 1) * tokenizer.longest_token_bytes


def prompt_text(tokenizer: ChatTokenizer, question: str, passages: list[str] | None = None) -> str:
    builder = PromptBuilder(tokenizer, WINDOW, 32)
    builder.check(question, 8)
    return tokenizer.decode(list(builder.build(0.0, [], passages or [], question, 8).token_ids))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(before=paddings, after=paddings, question=st.text("abc é?", min_size=1, max_size=20).filter(str.strip))
def test_blanks_around_a_question_change_nothing(
    kind: str, before: tuple[str, int], after: tuple[str, int], question: str
) -> None:
    tokenizer = chat_tokenizer(kind)
    padded = before[0] * before[1] + question + after[0] * after[1]
    assert prompt_text(tokenizer, padded) == prompt_text(tokenizer, question.strip())


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(gap=st.sampled_from([" ", "\n", "\u3000", "\t "]), off=st.integers(-40, 40), words=st.integers(500, 2000))
def test_a_question_that_does_not_fit_is_refused_wherever_it_is_cut(kind: str, gap: str, off: int, words: int) -> None:
    tokenizer = chat_tokenizer(kind)
    question = "Hi" + (gap * (budget(tokenizer) + off))[: budget(tokenizer) + off] + "word " * words
    with pytest.raises(ServiceError) as caught:
        prompt_text(tokenizer, question)
    assert caught.value.code is ErrorCode.PROMPT_TOO_LONG


@pytest.mark.parametrize("kind", KINDS)
def test_blanks_take_nothing_from_the_passages(kind: str) -> None:
    tokenizer = chat_tokenizer(kind)
    blanks = " \n" * budget(tokenizer)
    padded = [f"{blanks}One is{blanks}here.{blanks}", blanks, f"{blanks}Two."]
    assert prompt_text(tokenizer, "Hi", padded) == prompt_text(tokenizer, "Hi", ["One is here.", "Two."])
