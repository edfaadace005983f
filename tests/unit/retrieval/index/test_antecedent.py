"""A follow-up's pronoun stands for whom the last reply named, or for whom was spoken of before, where that fits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.antecedent import Pointer, names_to_find, pointer_of
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Exchange, Query
from tests.unit.retrieval.small_index import ARTICLES, make_index

PEOPLE = {
    "Karin Falk": (
        "Karin Falk was a builder of bridges. She was born in Visby, where her father mended boats. She went to school "
        "in Uppsala, and she taught drawing there. In her last years she wrote a book about wind.\n"
        "== Death ==\nShe died of a fever in 1901. Her house is a museum. She left her drawings to the town."
    ),
    "Olof Brandt": (
        "Olof Brandt was a keeper of lamps. He was born in Kalmar, where his mother sold herring. He went to sea as a "
        "boy, and he lost his hat at the Cape. In his last years he carved spoons.\n"
        "== Death ==\nHe died in his sleep in 1931. His spoons are in a museum. He left his boat to his children."
    ),
}
BUILT = Exchange("Who built the Lighthouse of Norrby?", reply="The Lighthouse of Norrby was built by Karin Falk.")
BORN = Exchange("Where was Karin Falk born?", reply="In Visby.")
SPOONS = Exchange("What did Olof Brandt carve?", reply="He carved spoons.")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Iterator[IndexRetriever]:
    folder = make_index(tmp_path_factory.mktemp("people") / "index", articles=ARTICLES | PEOPLE)
    retriever = IndexRetriever(folder, encoder, score_floor=0.3, timeout_s=60)
    yield retriever
    retriever.close()


def first(people: IndexRetriever, question: str, *earlier: Exchange) -> str:
    return people.search(Query(question, earlier=earlier))[0].title


def test_she_is_whom_the_reply_named(people: IndexRetriever) -> None:
    assert first(people, "And where was she born?", BUILT) == "Karin Falk"
    assert (
        first(people, "When did she die?", BUILT, Exchange("And where was she born?", reply="In Visby."))
        == "Karin Falk"
    )


def test_without_the_reply_and_of_what_is_no_woman_the_topic_stays(people: IndexRetriever) -> None:
    assert first(people, "How high is it?", BUILT) == "Lighthouse of Norrby"
    assert first(people, "Where did he live?", BUILT) == "Lighthouse of Norrby"
    assert first(people, "How high is it?", Exchange(BUILT.question)) == "Lighthouse of Norrby"


def test_he_and_she_go_back_to_the_last_who_was_one(people: IndexRetriever) -> None:
    assert first(people, "And she, how did she die?", BORN, SPOONS) == "Karin Falk"
    assert first(people, "And when did he die?", SPOONS, BORN) == "Olof Brandt"
    assert first(people, "And when did he die?", BORN, SPOONS) == "Olof Brandt"


def test_who_was_just_spoken_of_is_no_other_though_no_article_is_about_her(people: IndexRetriever) -> None:
    mother = Exchange("What did the mother of Olof Brandt sell?", reply="She sold herring.")
    assert first(people, "Where did she live?", BORN, mother) == "Olof Brandt"


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        ("When was he born?", Pointer.HE),
        ("and her novels", Pointer.SHE),
        ("What is the capital of that province?", Pointer.THAT),
        ("Did he know her?", None),
        ("Who was that?", None),
        ("Where was Lincoln born?", None),
    ],
)
def test_what_points_back(question: str, pointer: Pointer | None) -> None:
    assert pointer_of(question, "en") is pointer
    assert pointer_of(question, "de") is None


def test_names_are_those_that_the_first_sentence_of_a_reply_adds() -> None:
    reply = "Animal Farm was written by George Orwell. Napoleon is a pig."
    assert names_to_find("Who wrote Animal Farm?", reply, "When was he born?", "en") == ("George Orwell",)
    assert names_to_find("Who wrote Animal Farm?", reply, "When was it published?", "en") == ()
    assert names_to_find("Which was first?", "It was Apollo 8.", "Who flew that mission?", "en") == ("Apollo 8",)
