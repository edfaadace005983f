"""A filter decides which passages a search may give, whoever searches."""

from __future__ import annotations

import pytest

from server.retrieval.guarded import Guarded
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.passage_filter import PassageFilter
from server.retrieval.query import Exchange, Query
from server.retrieval.retriever import Passage, RetrievalError
from tests.unit.retrieval.test_composite import Answering


@pytest.mark.parametrize(
    ("only", "takes"),
    [
        (PassageFilter(), True),
        (PassageFilter(documents=("7", "9")), True),
        (PassageFilter(documents=("Marn",)), True),
        (PassageFilter(documents=("8",)), False),
        (PassageFilter(sections=("History",)), True),
        (PassageFilter(sections=("Origins",)), True),
        (PassageFilter(sections=("History > Origins",)), True),
        (PassageFilter(sections=("Hist",)), False),
        (PassageFilter(urls=("https://a.example/",)), True),
        (PassageFilter(urls=("https://b.example/",)), False),
        (PassageFilter(documents=("7",), urls=("https://b.example/",)), False),
    ],
)
def test_one_value_of_every_kind_must_fit(only: PassageFilter, takes: bool) -> None:
    assert only.takes("7", "Marn", "History > Origins", "https://a.example/marn") is takes


@pytest.mark.parametrize("earlier", [(), (Exchange("Who built the Lighthouse of Norrby?"),)])
def test_an_index_gives_what_the_filter_takes_and_nothing_else(
    retriever: IndexRetriever, earlier: tuple[Exchange, ...]
) -> None:
    for only in (PassageFilter(documents=("Velvet fox",)), PassageFilter(documents=("2",))):
        query = Query("Who was the first keeper?", k=5, earlier=earlier, required=True, only=only)
        assert {passage.title for passage in retriever.search(query)} == {"Velvet fox"}
    query = Query("Who was the first keeper?", k=5, earlier=earlier, only=PassageFilter(sections=("Keepers",)))
    assert {passage.section for passage in retriever.search(query)} == {"Keepers"}
    assert retriever.search(Query("Who was the first keeper?", only=PassageFilter(documents=("none",)))) == []


def test_an_index_has_one_language(retriever: IndexRetriever) -> None:
    question = "Who was the first keeper?"
    assert retriever.search(Query(question, only=PassageFilter(languages=("de", "en"))))
    assert retriever.search(Query(question, only=PassageFilter(languages=("de",)))) == []


def test_a_retriever_that_knows_no_filters_is_filtered() -> None:
    guarded = Guarded("own", Answering("a", "b"), timeout_s=30)
    found = guarded.search(Query("q", 5))
    wanted = PassageFilter(documents=(found[0].document_id,))
    assert {each.document_id for each in guarded.search(Query("q", 5, only=wanted))} == {found[0].document_id}
    assert guarded.search(Query("q", 5, only=PassageFilter(documents=("none",)))) == []
    guarded.close()


def test_whatever_a_retriever_gives_a_passage_has_bounds() -> None:
    class Endless(Answering):
        def search(self, query: Query) -> list[Passage]:
            long = "x" * 1_000_000
            return [
                Passage(long, long, title=long, section=long, text=long, score=0.5, url=f"https://e.example/{long}")
            ]

    [passage] = Guarded("own", Endless(), timeout_s=30).search(Query("a", 1, 0))
    assert len(passage.text) == 32_768
    assert {len(each) for each in (passage.passage_id, passage.document_id, passage.title, passage.section)} == {512}
    assert passage.url == ""


def test_a_field_that_is_no_text_is_the_retrievers_failure() -> None:
    class Odd(Answering):
        def search(self, query: Query) -> list[Passage]:
            return [Passage("1", "d", title="t", section="", text=None, score=0.5, url="")]  # type: ignore[arg-type]

    with pytest.raises(RetrievalError, match="TypeError"):
        Guarded("own", Odd(), timeout_s=30).search(Query("a", 1, 0))
