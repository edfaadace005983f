"""Questions made from sentences."""

from __future__ import annotations

import random

import pytest

from container.demo.data.clauses import parse_clause
from container.demo.data.questions import keyword_question, questions_about


def asked(sentence: str, topic: str | None = None, held_out_frames: bool = False) -> dict[str, set[str]]:
    """Every question text the patterns give over many draws, by kind."""
    found: dict[str, set[str]] = {}
    for seed in range(40):
        for question in questions_about(sentence, random.Random(seed), topic, held_out_frames):
            found.setdefault(question.kind, set()).add(question.text)
    return found


def test_a_definition_is_asked_for_with_what() -> None:
    assert "What is the aardwolf?" in asked("The aardwolf is a small mammal of the savanna.")["define"]


def test_a_person_is_asked_for_with_who() -> None:
    assert "Who was Ada Lovell?" in asked("Ada Lovell was a mathematician and writer.")["define"]


def test_a_passive_is_asked_for_by_its_agent() -> None:
    assert "Who was Brenwick founded by?" in asked("Brenwick was founded by Marga Tolin in 1742.")["passive"]


def test_a_year_can_be_asked_for() -> None:
    assert "When was Brenwick founded by Marga Tolin?" in asked("Brenwick was founded by Marga Tolin in 1742.")["when"]


def test_a_pronoun_subject_is_named_by_the_topic() -> None:
    assert "What did Brenwick export?" in asked("It exported salted herring and toys.", "Brenwick")["verb"]


def test_a_pronoun_subject_without_a_topic_gives_no_question() -> None:
    assert asked("It exported salted herring and toys.") == {}


def test_a_perfect_tense_is_not_taken_for_having() -> None:
    assert parse_clause("The town has developed a harbour.", None) is None


@pytest.mark.parametrize("held_out", [False, True])
def test_gold_words_stand_in_the_reply_and_not_in_the_question(held_out: bool) -> None:
    sentences = (
        "Brenwick is a small harbour town in the north of Aldany.",
        "In 1901 the storm destroyed the old lighthouse near Torvik.",
        "The museum (opened in 1911) contains twelve lamps and mirrors.",
    )
    for seed in range(30):
        for sentence in sentences:
            for question in questions_about(sentence, random.Random(seed), "Brenwick", held_out):
                assert question.reply == sentence
                assert question.gold.lower() not in question.text.lower()
                assert set(question.gold.lower().split()) <= set(sentence.lower().replace(".", "").split())


def test_held_out_wordings_share_none_with_training() -> None:
    sentence = "The aardwolf is a small mammal of the savanna."
    trained = {
        q.text for seed in range(60) for q in questions_about(sentence, random.Random(seed)) if q.kind == "define"
    }
    held_out = {
        q.text
        for seed in range(60)
        for q in questions_about(sentence, random.Random(seed), None, True)
        if q.kind == "define"
    }
    assert trained
    assert held_out
    assert not trained & held_out


def test_a_keyword_question_names_words_of_the_sentence() -> None:
    sentence = "Brenwick exports salted herring and wooden toys."
    texts = [found.text for seed in range(20) if (found := keyword_question(sentence, random.Random(seed)))]
    assert texts
    assert all(
        any(word in text for word in ("Brenwick", "exports", "salted", "herring", "wooden", "toys")) for text in texts
    )
