"""Copies and overlapping windows are given once."""

from __future__ import annotations

from server.retrieval.index.given_texts import GivenTexts
from server.retrieval.index.passage_table import PassageRow


def row(text: str, start: int = 0, document_id: str = "1") -> PassageRow:
    return PassageRow(f"{document_id}:{start}", document_id, "Title", "", text, "", start, start + len(text))


def test_the_same_words_in_another_document_repeat() -> None:
    given = GivenTexts()
    given.add([row("The same  words.")])
    assert given.repeats(row("The same words.", document_id="2"))
    assert not given.repeats(row("Other words.", document_id="2"))


def test_a_window_repeats_when_more_than_half_of_it_was_given() -> None:
    given = GivenTexts()
    given.add([row("0123456789", 100), row("abcdefghij", 110)])
    assert given.repeats(row("6789abcdXY", 106))
    assert given.repeats(row("hij+", 117))
    assert not given.repeats(row("ghij++++++", 116))
    assert not given.repeats(row("6789abcdXY", 106, document_id="2"))
    assert not given.repeats(row("further on", 120))
