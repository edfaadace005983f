"""A generated text becomes what was said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.prompt.chat_format import OPENCHATKIT
from server.chat.prompt.formats import FORMATS
from server.chat.reply.clean import ReplyCleaner
from server.chat.text.sentences import next_to_judge, split_sentences

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


@pytest.mark.parametrize("unit", ["\n", "\n ", "\n<", "\n <h ", "\t\n", "<", ". ", ".", '."', "1.", "?\u3002"])
def test_a_long_reply_of_anything_is_cleaned_and_cut_in_time_that_grows_with_its_length(unit: str) -> None:
    reply = unit * 100_000 + "x"  # with a scan that goes back for every character this would take an hour
    for chat_format in FORMATS.values():
        assert ReplyCleaner(chat_format).clean(reply).endswith("x")
    assert next_to_judge(reply, 0) >= 0
    assert split_sentences(reply)[-1].endswith("x")
