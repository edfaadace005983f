"""What a user wrote never becomes a special token; what the server wrote does."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.prompt.tokenizer import ChatTokenizer, special_tokens
from server.config import ConfigError
from tests.unit.chat.prompt.chat_tokenizers import KINDS, SPECIAL, chat_tokenizer, definition, special_ids

tags = st.sampled_from(["<human>", "<bot>:", *SPECIAL, " ", "\n", "    "])


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, derandomize=True)
@given(text=st.one_of(st.text(), st.lists(tags, max_size=8).map("".join)))
def test_any_text_comes_back_and_holds_no_special_id(kind: str, text: str) -> None:
    tokenizer = chat_tokenizer(kind)
    ids = tokenizer.encode(text)
    assert unicodedata.normalize("NFC", tokenizer.decode(ids)) == unicodedata.normalize("NFC", text)
    assert not set(ids) & special_ids(kind)


def test_structure_uses_added_tokens() -> None:
    [human, _colon] = chat_tokenizer("added").encode_structure("<human>:")
    assert human in special_ids("added")


def test_runs_of_white_space_stay_short() -> None:
    assert len(chat_tokenizer("ordinary").encode("        ")) == 1


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, derandomize=True)
@given(text=st.text())
def test_ends_say_where_each_token_stops(kind: str, text: str) -> None:
    ids, ends = chat_tokenizer(kind).encode_with_ends(text)
    assert ids == chat_tokenizer(kind).encode(text)
    assert ends == sorted(ends)
    assert ends[-1:] == ([len(text)] if text else [])


def test_cutting_and_filling_up_that_a_definition_asks_for_are_left_out() -> None:
    parsed = json.loads(definition("ordinary"))
    parsed["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    text = "one two three four five six seven eight"
    assert ChatTokenizer(json.dumps(parsed)).decode(ChatTokenizer(json.dumps(parsed)).encode(text)) == text


def test_a_missing_tokenizer_is_one_sentence_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.json is missing"):
        ChatTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["not json", "{}", "[]", '{"model": {"type": "BPE"}}'])
def test_a_broken_tokenizer_is_one_sentence_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match=r"tokenizer\.json is not a tokenizer"):
        ChatTokenizer.from_folder(tmp_path)


def test_a_folder_gives_its_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(definition("added"), "utf-8")
    tokenizer = ChatTokenizer.from_folder(tmp_path)
    assert tokenizer.encode("hello there") == chat_tokenizer("added").encode("hello there")
    assert tokenizer.vocab_size == chat_tokenizer("added").vocab_size


@pytest.mark.parametrize("token", ["</s>", {"content": "</s>", "__type": "AddedToken"}])
def test_a_token_is_named_by_its_text_or_in_an_object(tmp_path: Path, token: object) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": None, "eos_token": token}), "utf-8-sig")
    assert special_tokens(tmp_path) == ("", "</s>")


@pytest.mark.parametrize("content", ["[]", "{", '{"eos_token": 5}', '{"eos_token": ["</s>"]}', '{"bos_token": {}}'])
def test_tokens_that_are_none_are_one_sentence_with_the_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/tokenizer_config.json"):
        special_tokens(tmp_path)
