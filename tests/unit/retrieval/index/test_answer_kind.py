"""Passages that hold a thing of the kind that a question asks for are told from those that do not."""

from __future__ import annotations

import pytest

from server.retrieval.index.answer_kind import AskedKind

LIFE = "Karin Falk was an engineer. She was born on 4 June 1840 in Marn. Her teacher was Olof Brandt."


def held(question: str, *texts: str, language: str = "en") -> list[float] | None:
    asked = AskedKind.of(question, language)
    return None if asked is None else asked.held_by(texts).tolist()


@pytest.mark.parametrize(
    ("question", "lacks"),
    [
        ("When was Karin Falk born?", "Karin Falk was an engineer."),
        ("in which year was she born", "Karin Falk was an engineer."),
        ("Where was Karin Falk born?", "Karin Falk was born in the spring."),
        ("Who was the teacher of Karin Falk?", "Karin Falk had a teacher."),
        ("And who taught her?", "She was taught at home."),
        ("How many teachers had she?", "She had teachers."),
        ("How old is the lighthouse?", "The lighthouse is old."),
    ],
)
def test_what_holds_the_kind_is_told_from_what_does_not(question: str, lacks: str) -> None:
    found = held(question, LIFE, lacks)
    assert found is not None
    assert found[0] > found[1] == 0


def test_the_sentence_with_the_questions_words_counts_most() -> None:
    in_it = "Karin Falk was born on 4 June 1840. She built a lighthouse."
    elsewhere = "Karin Falk was born at home. The lighthouse dates from 1872."
    assert held("When was Karin Falk born?", in_it, elsewhere) == [1.0, 0.5]


def test_a_name_that_the_question_says_itself_is_no_answer() -> None:
    assert held("Who was Karin Falk?", "Karin Falk was an engineer.") == [0.0]


@pytest.mark.parametrize("question", ["Why was the lamp switched off?", "why"])
def test_a_reason_is_a_kind(question: str) -> None:
    assert held(question, "It broke because of the storm.", "It broke in a storm.") == [1.0, 0.0]


@pytest.mark.parametrize("question", ["What is copper bread?", "what did she say when she came home", "thanks", ""])
def test_the_first_word_that_asks_decides_and_most_ask_for_no_kind(question: str) -> None:
    assert AskedKind.of(question, "en") is None


def test_of_other_languages_nothing_is_told() -> None:
    assert held("Wann wurde sie geboren?", LIFE, language="de") is None
