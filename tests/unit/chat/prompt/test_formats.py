"""Each named format writes a conversation as its model was trained on it, and nobody's text can forge its structure."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from server.chat.prompt.chat_format import ChatFormat
from server.chat.prompt.formats import FORMATS
from server.chat.prompt.prompt import Prompt, PromptBuilder
from server.chat.records.turn_records import Source, Turn, Usage
from server.chat.text.neutralise import Neutraliser
from tests.unit.chat.prompt.chat_tokenizers import TAGS, chat_tokenizer, metaspace_definition

CREATED = 1678457100.0
Stored = tuple[str, str, str]  # question, reply, passage
CASES = [(name, kind) for name in FORMATS for kind in ("tagged", "metaspace")]

WRITTEN = {
    "openchatkit": (
        "Current Date: 2023-03-10\nCurrent Time: 14:05:00 PM UTC\n\nBe brief.\n\n"
        "Background: A passage.\n<human>: Who?\n<bot>: He.\n<human>: When?\n<bot>:"
    ),
    "dolly": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "Be brief.\n\n### Instruction:\nWho?\n\nInput:\nA passage.\n\n### Response:\nHe.\n\n### End\n\n"
        "### Instruction:\nWhen?\n\n### Response:\n"
    ),
    "openassistant": (
        "<|system|>Be brief.</s><|prompter|>Background: A passage.\n\nWho?</s><|assistant|>He.</s>"
        "<|prompter|>When?</s><|assistant|>"
    ),
    "alpaca": (
        "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\nBe brief.\n\n### Instruction:\nWho?\n\n### Input:\nA passage.\n\n### Response:\nHe.</s>\n\n"
        "### Instruction:\nWhen?\n\n### Response:\n"
    ),
    "vicuna": "<s>Be brief. USER: Background: A passage.\n\nWho? ASSISTANT: He.</s>USER: When? ASSISTANT:",
    "llama-2": (
        "<s> [INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nBackground: A passage.\n\nWho? [/INST] He. </s>"
        "<s> [INST] When? [/INST]"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nBackground: A passage.\n\n"
        "Question: Who?<|im_end|>\n"
        "<|im_start|>assistant\nHe.<|im_end|>\n<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n"
    ),
}


def build(
    chat_format: ChatFormat,
    kind: str,
    stored: list[Stored],
    question: str,
    system: str,
    passage: str = "",
) -> Prompt:
    history = [
        Turn(number, user, reply, "stop", 0.0, sources=(Source("t", source, 0.5, "d"),))
        for number, (user, reply, source) in enumerate(stored, 1)
    ]
    builder = PromptBuilder(chat_tokenizer(kind), 8192, 1000, chat_format)
    return builder.build(CREATED, history, [passage], question, 64, system=system)


@pytest.mark.parametrize("name", FORMATS)
def test_a_conversation_is_written_as_the_format_has_it(name: str) -> None:
    prompt = build(FORMATS[name], "tagged", [("Who?", "He.", "A passage.")], "When?", "Be brief.")
    assert chat_tokenizer("tagged").decode(list(prompt.token_ids)) == WRITTEN[name]


def test_a_sentencepiece_tokenizer_puts_no_blank_of_its_own_between_the_pieces() -> None:
    prompt = build(FORMATS["llama-2"], "metaspace", [("Who?", "He.", "")], "When?", "")
    written = spelt("metaspace", prompt)
    assert written == "<s> [INST] Who? [/INST] He. </s><s> [INST] When? [/INST]"


def test_the_special_tokens_of_a_format_end_its_replies_and_its_ends_that_are_one_token() -> None:
    builder = PromptBuilder(chat_tokenizer("tagged"), 512, 100, FORMATS["chatml"])
    assert builder.end_token_ids == chat_tokenizer("tagged").ids_of(["<|im_end|>", "<|endoftext|>", "<|im_start|>"])
    assert len(builder.end_token_ids) == 3


def spelt(kind: str, prompt: Prompt) -> str:
    """The tokens' own letters one after another, which no decoder has tidied."""
    if kind == "tagged":
        return chat_tokenizer(kind).decode(list(prompt.token_ids))
    vocabulary = Tokenizer.from_str(metaspace_definition())
    pieces = [vocabulary.id_to_token(token) for token in prompt.token_ids]
    raw = bytearray()
    for piece in pieces:
        byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
        raw += bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()
    return raw.decode("utf-8", "replace")


SIGNS = sorted({sign for each in FORMATS.values() for sign in each.markup.literals})
forgeries = st.sampled_from(
    [
        *SIGNS, *TAGS, *(sign.lower() for sign in SIGNS), "<s>", "</s>", "<human>:", "<bot>:",
        "［INST］", "＃## Response:", "[ I N S T ]", "us\u200ber:", "&#91;INST]", "### Instruction", "<<SYS>",
        "<", ">", "[", "]", "#", ":", " ", "\n", "\\", "user", "assistant", "\nBackground: lies",
    ]
)  # fmt: skip
texts = st.one_of(st.text(max_size=30), st.lists(forgeries, max_size=6).map("".join))
turns = st.lists(st.tuples(texts, texts, texts), max_size=2)


def seen(text: str) -> str:
    """As a careless reader sees it: signs folded, invisible ones and blanks left out."""
    plain = unicodedata.normalize("NFKC", html.unescape(text))
    return "".join(char for char in plain if unicodedata.category(char) != "Cf" and not char.isspace()).lower()


@pytest.mark.parametrize(("name", "kind"), CASES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(stored=turns, passage=texts, question=texts, system=texts)
def test_a_reader_sees_the_tags_that_the_turns_imply(
    name: str, kind: str, stored: list[Stored], passage: str, question: str, system: str
) -> None:
    chat_format = FORMATS[name]
    prompt = build(chat_format, kind, stored, question, system, passage)
    shown = seen(spelt(kind, prompt))
    for opens in (chat_format.question[0], chat_format.reply[0].strip() or chat_format.question[1]):
        tag = seen(opens.replace("{bos}", "<s>"))
        assert shown.count(tag) == len(stored) + 1, (tag, shown)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=texts)
def test_what_is_neutralised_can_be_restored(name: str, text: str) -> None:
    neutraliser = Neutraliser(FORMATS[name].markup)
    once = neutraliser.neutralise(text)
    assert neutraliser.restore(once) == text
    assert neutraliser.restore(neutraliser.neutralise(once)) == once


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("vicuna", "Background: [1] One passage. [2] And another."),
        ("chatml", "Background: One passage. And another.\n\nQuestion: Who?"),
        ("openchatkit", "Background: One passage. And another."),
    ],
)
def test_several_passages_are_numbered_where_the_format_says_so_and_stay_so(name: str, written: str) -> None:
    builder = PromptBuilder(chat_tokenizer("tagged"), 8192, 1000, FORMATS[name])
    passages = ["One passage.", "And another."]
    prompt = builder.build(CREATED, [], passages, "Who?", 64)
    text = chat_tokenizer("tagged").decode(list(prompt.token_ids))
    assert written in text
    assert prompt.num_passages == 2
    usage = Usage(prompt_tokens=len(prompt.token_ids), passage_tokens=prompt.num_passage_tokens)
    sources = tuple(Source("t", each, 0.5, "d") for each in passages)
    stored = Turn(1, "Who?", "He.", "stop", 0.0, sources=sources, usage=usage)
    again = builder.build(CREATED, [stored], [], "When?", 64)
    assert again.token_ids[: len(prompt.token_ids)] == prompt.token_ids


def test_a_passage_that_alone_fits_has_no_number() -> None:
    builder = PromptBuilder(chat_tokenizer("tagged"), 8192, 24, FORMATS["vicuna"])
    prompt = builder.build(CREATED, [], ["One passage of many words. " * 9, "And another."], "Who?", 64)
    assert prompt.num_passages == 1
    assert "[1]" not in chat_tokenizer("tagged").decode(list(prompt.token_ids))
