"""Where a reply may be cut to be judged: at the ends of sentences, and not at what only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.text.sentences import next_to_judge

UNFINISHED = [
    "Take approx. 5 litres",
    "Take approx.",
    "Ask Dr. Smith",
    "Use a solvent, e.g. acetone",
    "Use a solvent (e.g. Acetone)",
    "Written by J. R. Smith",
    "He has a Ph.D. From there",
    "Between the U.S. Army and him",
    "Mix it ... and wait",
    "Wait\u2026 then strike",
    '"Really?" he said',
    "One line\nand the next",
    "One line\nAnd the next",
    "It costs 3.50 or so",
    "See fig. 3 and vol. 2",
    "これは",
    "彼は「行く。」と",
]
SENTENCES = [
    ("One. Two", "One. "),
    ("One! Two", "One! "),
    ("Is it? \u201cYes", "Is it? "),
    ('He said "yes." Then', 'He said "yes." '),
    ("In 1999. Then", "In 1999. "),
    ("So it ends.\nThen", "So it ends.\n"),
    ("A title\n\nThe text", "A title\n\n"),
    ("Take these:\n- salt", "Take these:\n"),
    ("Take these:\n1. Salt", "Take these:\n"),
    ("Take these:\n  b) Salt", "Take these:\n  "),
    ("これはペンです。あれ", "これはペンです。"),
    ("本当！？はい", "本当！？"),
    ("वह गया। फिर", "वह गया। "),
    ("Fine. 5 more", "Fine. "),
]


@pytest.mark.parametrize("text", UNFINISHED)
def test_an_unfinished_sentence_is_held_back(text: str) -> None:
    assert next_to_judge(text, 0) == 0
    assert next_to_judge(f"All well. {text}", 0) == len("All well. ")


@pytest.mark.parametrize(("text", "ended"), SENTENCES)
def test_a_sentence_is_judged_when_the_next_one_begins(text: str, ended: str) -> None:
    assert text[: next_to_judge(text, 0)] == ended


def test_a_mark_ends_nothing_before_the_next_character_is_there() -> None:
    for written in ("One.", "One. ", "One. \n", "これ。"):
        assert next_to_judge(written, 0) == 0


def test_the_number_of_a_list_s_item_is_no_sentence() -> None:
    assert next_to_judge("1. The first item", 0) == 0
    assert next_to_judge("So:\n 2. The second item", 0) == len("So:\n ")
    assert next_to_judge("It was 12. The rest", 0) == len("It was 12. ")


def test_a_text_without_ends_is_judged_in_parts() -> None:
    assert next_to_judge("word " * 100, 0) == 500
    assert next_to_judge("word\n" * 100, 0) == 500
    assert next_to_judge("short", 0) == 0


BLOCKED = [
    "Take approx. 5 litres of BAD. ",
    "Ask Dr. Smith, or J. R. Jones, for BAD. ",
    "Use solvents, e.g. acetone, i.e. BAD. ",
    "Mix them ... and have BAD! ",
    "First you mix\nand then you get\nBAD. ",
    "まず混ぜて、それからBADです。",
]


@given(
    st.lists(st.sampled_from(["All is well. ", "Really? ", "よし。", "So.\n\n"]), max_size=4).map("".join),
    st.sampled_from(BLOCKED),
    st.lists(st.integers(1, 12), min_size=1, max_size=30),
)
def test_no_part_of_a_sentence_is_judged_before_it_is_whole(before: str, blocked: str, sizes: list[int]) -> None:
    text, judged, end = f"{before}{blocked}And so on. Yes", 0, 0
    while end < len(text):
        end += sizes[end % len(sizes)]
        judged = next_to_judge(text[:end], judged)
        assert judged <= len(before) or "BAD" in text[:judged], text[:judged]
    assert "BAD" in text[:judged]
