"""Questions about the sample dump find the article and the passage that answer them, with default windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from index_builder.bench.searching import measure_conversations, measure_questions, read_questions
from index_builder.build import BuildPlan, build
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Exchange, Query
from tests import ROOT

QUESTIONS = ROOT / "tests" / "data" / "questions" / "sample_dump.jsonl"
README_QUESTIONS = (
    "Which medal did Alain Connes win in 1982?",
    "And in 2001?",
    "great, thanks",
    "What do aardvarks eat?",
    "and how long is their tongue?",
)
CONVERSATIONS = ROOT / "tests" / "data" / "conversations"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    build(
        BuildPlan(source="sample", encoder="sample"),
        folder / "index",
        WorkFolder(folder / "work"),
        Progress(quiet=True),
    )
    return folder / "index"


def test_questions_find_the_article_and_the_passage_that_answer_them(index: Path) -> None:
    found = measure_questions(index, "sample", QUESTIONS)
    assert found["window_sentences"] == 3
    assert float(str(found["article_first"])) >= 0.98, found
    assert float(str(found["answer_among_5"])) >= 0.97, found
    assert float(str(found["answer_first"])) >= 0.84, found


def test_so_do_questions_that_nothing_was_chosen_by(index: Path) -> None:
    found = measure_questions(index, "sample", QUESTIONS.with_name("unseen.jsonl"))
    assert float(str(found["article_first"])) >= 0.97, found
    assert float(str(found["answer_among_5"])) >= 0.97, found
    assert float(str(found["answer_first"])) >= 0.87, found


def test_questions_of_conversations_find_their_passage(index: Path) -> None:
    found = measure_conversations(index, "sample", CONVERSATIONS / "sample_dump.jsonl")
    told, alone = (_shares(found[name]) for name in ("in_conversation", "alone"))
    assert told["pronoun"] >= 0.85 > 0.65 > alone["pronoun"], found
    assert told["ellipsis"] >= 0.85 > 0.65 > alone["ellipsis"], found
    assert told["topic_shift"] == alone["topic_shift"] == 1.0, found
    assert told["smalltalk"] == 1.0, found
    assert told["opening"] == alone["opening"], found


@pytest.mark.parametrize("half", ["dev", "test"])
def test_so_do_those_of_other_articles_and_phrasings(index: Path, half: str) -> None:
    found = measure_conversations(index, "sample", CONVERSATIONS / f"unseen_{half}.jsonl")
    told = _shares(found["in_conversation"])
    assert told["pronoun"] >= 0.85, found
    assert told["ellipsis"] >= 0.85, found
    assert told["topic_shift"] == told["smalltalk"] == 1.0, found


def test_a_pronoun_finds_whom_a_reply_named_and_who_was_spoken_of_before(index: Path) -> None:
    told = _shares(measure_conversations(index, "sample", CONVERSATIONS / "pointing.jsonl")["in_conversation"])
    assert min(told[kind] for kind in ("hop", "crossing", "return", "pronoun", "ellipsis")) >= 0.9, told


def test_the_conversation_in_the_readme_is_what_is_found(index: Path) -> None:
    retriever = IndexRetriever(index, Encoder("sample"), read_manifest(index).score_floor, timeout_s=60)
    told: list[Exchange] = []
    rows = []
    for question in README_QUESTIONS:
        found = retriever.search(Query(question, earlier=tuple(told)))
        told.append(Exchange(question))
        source = f"{found[0].title}, {found[0].section}" if found else "none"
        excerpt = f"{found[0].text[:70]}…" if found else ""
        rows.append(f"| {question} | {source} | {excerpt} |")
    retriever.close()
    assert "\n".join(rows) in (ROOT / "README.md").read_text("utf-8"), "\n".join(rows)


def _shares(counts: object) -> dict[str, float]:
    assert isinstance(counts, dict)
    return {kind: row["among_5"] / row["turns"] for kind, row in counts.items()}


def test_there_are_enough_questions_over_many_articles() -> None:
    questions = read_questions(QUESTIONS)
    assert len(questions) >= 60
    assert len({str(question["question"]) for question in questions}) == len(questions)
    assert len({str(question["title"]) for question in questions}) >= 50
