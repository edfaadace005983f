"""A question of a conversation finds its passage in the light of the questions before it."""

from __future__ import annotations

import dataclasses

import pytest

from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Exchange, Query

LIGHTHOUSE = ("Who built the Lighthouse of Norrby?", "Lighthouse of Norrby")
BREAD = ("What is copper bread made of?", "Copper bread")


def titles(retriever: IndexRetriever, *questions: str, required: bool = False) -> list[str]:
    *earlier, last = questions
    query = Query(last, k=2, earlier=[Exchange(question) for question in earlier], required=required)
    return [passage.title for passage in retriever.search(query)]


@pytest.mark.parametrize(
    ("opening", "title", "question"),
    [
        (*LIGHTHOUSE, "How high is it?"),
        (*LIGHTHOUSE, "and when"),
        (*LIGHTHOUSE, "Who lived there first?"),
        (*BREAD, "Why?"),
        (*BREAD, "How long does it take?"),
        ("What does the velvet fox eat?", "Velvet fox", "when are they born"),
        ("Who won the Battle of Green Hill?", "Battle of Green Hill", "And where was the peace signed?"),
    ],
)
def test_a_follow_up_finds_its_article(retriever: IndexRetriever, opening: str, title: str, question: str) -> None:
    assert titles(retriever, opening, question)[0] == title


def test_the_follow_up_of_a_follow_up_keeps_the_topic(retriever: IndexRetriever) -> None:
    assert titles(retriever, LIGHTHOUSE[0], "How high is it?", "And who was there first?")[0] == LIGHTHOUSE[1]


@pytest.mark.parametrize("question", ["What is copper bread made of?", "what do velvet foxes hunt at"])
def test_a_new_topic_is_not_dragged_back(retriever: IndexRetriever, question: str) -> None:
    alone = titles(retriever, question)[0]
    assert titles(retriever, LIGHTHOUSE[0], "How high is it?", question)[0] == alone != LIGHTHOUSE[1]


def test_what_follows_a_new_topic_is_about_that(retriever: IndexRetriever) -> None:
    assert titles(retriever, LIGHTHOUSE[0], BREAD[0], "How is it eaten?")[0] == BREAD[1]


@pytest.mark.parametrize("said", ["thanks, bye!", "lol", "great, that helps", "ok cool", "haha wow"])
def test_small_talk_between_questions_finds_nothing_and_keeps_the_topic(retriever: IndexRetriever, said: str) -> None:
    assert titles(retriever, LIGHTHOUSE[0], said) == []
    assert titles(retriever, LIGHTHOUSE[0], said, "How high is it?")[0] == LIGHTHOUSE[1]


def test_passages_that_are_required_come_for_small_talk_too(retriever: IndexRetriever) -> None:
    assert titles(retriever, "ok cool") == []
    assert titles(retriever, "ok cool", required=True)
    assert titles(retriever, LIGHTHOUSE[0], "ok cool", required=True)[0] == LIGHTHOUSE[1]


def test_small_talk_before_it_leaves_a_question_as_it_is(retriever: IndexRetriever) -> None:
    assert retriever.search(Query(LIGHTHOUSE[0], earlier=[Exchange("Hello")])) == retriever.search(Query(LIGHTHOUSE[0]))


def test_engines_of_words_are_told_what_a_question_is_about() -> None:
    about = Exchange("Who was Abraham Lincoln?", ("Abraham Lincoln",))
    assert Query("When was he born?", earlier=[about]).with_topic == "Abraham Lincoln When was he born?"
    assert Query("Why?", earlier=[Exchange("Who shot Lincoln?")]).with_topic == "Who shot Lincoln? Why?"
    assert Query("What is the albedo of snow?", earlier=[about]).with_topic == "What is the albedo of snow?"
    assert Query("When was he born?").with_topic == "When was he born?"


def test_a_question_that_was_written_out_is_searched_for_as_such(retriever: IndexRetriever) -> None:
    earlier = [Exchange(LIGHTHOUSE[0])]
    written_out = Query("And what goes into that bread?", 2, earlier=earlier, standalone=BREAD[0])
    assert retriever.search(written_out) == retriever.search(Query(BREAD[0], 2))
    assert written_out.with_topic == BREAD[0]


def test_small_talk_finds_nothing_whatever_was_written_out_for_it(retriever: IndexRetriever) -> None:
    assert retriever.search(Query("ok cool", earlier=[Exchange(LIGHTHOUSE[0])], standalone=BREAD[0])) == []


def test_where_the_written_out_question_finds_nothing_the_conversation_tells(retriever: IndexRetriever) -> None:
    told = Query("How high is it?", 2, earlier=[Exchange(LIGHTHOUSE[0])])
    assert retriever.search(dataclasses.replace(told, standalone="zzz qqq")) == retriever.search(told)
