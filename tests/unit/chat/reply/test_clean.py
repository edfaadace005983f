"""A generated text becomes what was said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.prompt.chat_format import OPENCHATKIT
from server.chat.reply.clean import ReplyCleaner

clean_reply = ReplyCleaner(OPENCHATKIT).clean

parts = st.sampled_from(
    ["Hello", " ", "\n", "<human>", "<hu", "<", "<pad>", "</s>", "<|endoftext|>", "pad", "<p", "ad>", "...", ">"]
)


@pytest.mark.parametrize(
    ("generated", "said"),
    [
        (" Hello!\n", "Hello!"),
        (" Hello!\n<human>: and you?\n<bot>: fine", "Hello!"),
        (" Hello!<|endoftext|><pad><pad>", "Hello!"),
        ("<pad> Hello</s>\n\n", "Hello"),
        (" Hello!\n<hum", "Hello!"),
        (" Hello!\n<", "Hello!"),
        (" one <two> three", "one <two> three"),
        (" x\n<b>bold</b>", "x\n<b>bold</b>"),
        (" cut in the mid", "cut in the mid"),
        ("<pa<pad>d> Hello", "Hello"),
        ("<human>: hi", ""),
        ("", ""),
    ],
)
def test_a_reply_is_what_was_said_before_the_human_tag(generated: str, said: str) -> None:
    assert clean_reply(generated) == said


def test_a_format_that_ends_replies_by_a_token_alone_cuts_nothing() -> None:
    by_token = replace(OPENCHATKIT, ends=(), noise=(), end_tokens=("<|im_end|>",))
    assert ReplyCleaner(by_token).clean(" Hello! How are you?\n") == "Hello! How are you?"


@settings(deadline=None, derandomize=True)
@given(st.one_of(st.text(), st.lists(parts, max_size=10).map("".join)))
def test_cleaning_a_clean_reply_changes_nothing(text: str) -> None:
    once = clean_reply(text)
    assert clean_reply(once) == once
    assert not any(noise in once for noise in ("<human>", "<pad>", "</s>", "<|endoftext|>"))
