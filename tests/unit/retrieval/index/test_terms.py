"""Words that say nothing are those of the index's language."""

from __future__ import annotations

import pytest

from server.retrieval.index.terms import TermReader


@pytest.mark.parametrize(
    ("language", "question", "num_words"),
    [
        ("en", "Who was the author of it?", 1),
        ("de", "Wer war der Autor von Faust?", 2),
        ("fr", "Qui est l'auteur de la pièce ?", 2),
        ("es", "¿Quién es el autor de la obra?", 2),
        ("ru", "Кто был автором этой книги?", 3),
        ("xx", "Who was the author of it?", 6),
    ],
)
def test_only_words_that_say_something_count(language: str, question: str, num_words: int) -> None:
    assert len(TermReader(language).terms(question)) == num_words


def test_a_word_of_another_language_counts() -> None:
    assert len(TermReader("de").terms("The Who")) == 2
    assert TermReader("en").terms("The Who") == []
