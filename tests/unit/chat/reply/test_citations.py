"""A sentence is marked with the source that it rests on, and with none that it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.records.turn_records import Citation
from server.chat.reply.citations import Citer, MarkedText, with_marks

LINCOLN = (
    "Abraham Lincoln (February 12, 1809 – April 15, 1865) was the 16th President of the United States. He was shot by "
    "John Wilkes Booth in Ford's Theatre."
)
ALBEDO = "Albedo is the diffuse reflectivity of a surface. Fresh snow reflects up to 90 percent of the sunlight."
ALBEDO_DE = "Der Rückstrahlwert frischen Schnees beträgt bis zu 90 Prozent."
JAPANESE = "東京は日本の首都である。人口は約千四百万人である。"
SOURCES = (LINCOLN, ALBEDO, ALBEDO_DE, JAPANESE)


def marked(reply: str, *sources: str) -> str:
    return with_marks(reply, Citer(sources).citations(reply))[0]


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("He was shot by John Wilkes Booth.", "He was shot by John Wilkes Booth. [1]"),
        (
            "Lincoln was the 16th President of the United States. Fresh snow reflects up to 90 percent of the light.",
            "Lincoln was the 16th President of the United States. [1] Fresh snow reflects up to 90 percent of the "
            "light. [2]",
        ),
        ("Of sunlight, fresh snow can reflect 90 percent.", "Of sunlight, fresh snow can reflect 90 percent. [2]"),
        ("Frischer Schnee hat einen Rückstrahlwert von bis zu 90 Prozent", None),
        ("Der Rückstrahlwert beträgt bis zu 90 Prozent.", "Der Rückstrahlwert beträgt bis zu 90 Prozent. [3]"),
        ("東京は日本の首都である。", "東京は日本の首都である。 [4]"),
        ("I do not know.", None),
        ("He was born in Kentucky and loved his dog.", None),
        ("Fresh snow reflects 80 percent of sunlight surfaces.", None),
        ("John Tyler reflects sunlight, diffuse surface, percent.", None),
        ("", None),
    ],
)
def test_a_mark_stands_where_the_words_stand_in_the_source(reply: str, shown: str | None) -> None:
    assert marked(reply, *SOURCES) == (reply if shown is None else shown)


def test_without_sources_there_are_no_marks() -> None:
    assert Citer(()).citations(LINCOLN) == ()


def test_of_sources_that_say_the_same_the_earlier_is_named() -> None:
    assert {each.source for each in Citer((ALBEDO, LINCOLN, LINCOLN)).citations(LINCOLN)} == {2}


def test_the_places_after_marking_are_those_of_the_sentences() -> None:
    reply = f"Well. {LINCOLN} So it is."
    citations = Citer(SOURCES).citations(reply)
    shown, moved = with_marks(reply, citations)
    assert [reply[each.start : each.end] for each in citations] == [shown[each.start : each.end] for each in moved]
    assert len(moved) == 2
    assert all(shown[each.end :].startswith(" [1]") for each in moved)


BITS = [*LINCOLN.split(". "), *ALBEDO.split(". "), "Nobody knows", "Mr. Smith", "3.5", "\n\n- one"]


@given(st.lists(st.sampled_from(BITS), max_size=6).map(". ".join), st.lists(st.integers(1, 9), min_size=1))
def test_marks_are_the_same_in_pieces_of_any_size_and_take_nothing_away(reply: str, sizes: list[int]) -> None:
    stream, shown, start, turn = MarkedText(Citer(SOURCES)), "", 0, 0
    while start < len(reply):
        size = sizes[turn % len(sizes)]
        shown += stream.take(reply[start : start + size])
        start, turn = start + size, turn + 1
    shown += stream.rest()
    assert shown == marked(reply, *SOURCES)
    citations = Citer(SOURCES).citations(reply)
    assert all(isinstance(each, Citation) and 0 <= each.start < each.end <= len(reply) for each in citations)
    _, moved = with_marks(reply, citations)
    for each in reversed(moved):
        shown = shown[: each.end] + shown[each.end + len(f" [{each.source}]") :]
    assert shown == reply
