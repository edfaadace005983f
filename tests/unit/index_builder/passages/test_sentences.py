"""Sentence boundaries in prose as encyclopedias write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_builder.passages.window import MAX_SENTENCE_CHARS, sentence_spans, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["He met Mr. Smith in Washington, D.C. on Jan. 5, 1861.", "They talked."],
        ["J. R. R. Tolkien wrote it.", "It sold well."],
        ["It lies approx. 3.5 km (2.2 mi.) away.", "It is old."],
        ["See Vol. 3 of the work, pp. 4–5.", "It says so."],
        ["The U.S. Army fought.", "It won."],
        ["He was born c. 1820 in Kentucky.", "He died in 1865."],
        ['"Is it?" he asked.', '"Yes!" she said.'],
        ["He graduated (Ph.D., 1905) from Yale.", "Then he taught."],
        ["The battle was led by Gen. Grant.", "It was long."],
        ["Is that so?", "I think so...", "Maybe not."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences


def test_a_line_break_ends_a_sentence() -> None:
    assert split_sentences("first item\nsecond item. And more") == ["first item", "second item.", "And more"]


def test_an_endless_sentence_is_cut_at_spaces() -> None:
    text = "word " * 1000
    sentences = split_sentences(text)
    assert all(0 < len(sentence) <= MAX_SENTENCE_CHARS for sentence in sentences)
    assert " ".join(sentences) == text.strip()


def test_an_endless_word_is_cut_too() -> None:
    assert "".join(split_sentences("x" * 2500)) == "x" * 2500


@given(st.text("aB.!? \n\"'(1é“”", max_size=200))
def test_sentences_hold_every_character_but_white_space(text: str) -> None:
    spans = sentence_spans(text)
    assert [end for _, end in spans[:-1]] <= [start for start, _ in spans[1:]]
    assert "".join(text[start:end] for start, end in spans).split() == text.split() or (
        "".join("".join(text[start:end] for start, end in spans).split()) == "".join(text.split())
    )
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in spans)
