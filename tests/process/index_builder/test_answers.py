"""Questions about the sample dump find the article and the passage that answer them, with default windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from index_builder.bench import conversations
from index_builder.bench.questions import measure, read_questions
from index_builder.build import build
from index_builder.build_plan import BuildPlan
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from tests import ROOT

QUESTIONS = ROOT / "tests" / "data" / "questions" / "sample_dump.jsonl"
CONVERSATIONS = ROOT / "tests" / "data" / "conversations" / "sample_dump.jsonl"


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
    found = measure(index, "sample", QUESTIONS)
    assert found["window_sentences"] == 3
    assert float(str(found["article_first"])) >= 0.98, found
    assert float(str(found["answer_among_5"])) >= 0.97, found
    assert float(str(found["answer_first"])) >= 0.8, found


def test_questions_of_conversations_find_their_passage(index: Path) -> None:
    found = conversations.measure(index, "sample", CONVERSATIONS)
    told, alone = (_shares(found[name]) for name in ("in_conversation", "alone"))
    assert told["pronoun"] >= 0.85 > 0.65 > alone["pronoun"], found
    assert told["ellipsis"] >= 0.85 > 0.65 > alone["ellipsis"], found
    assert told["topic_shift"] == alone["topic_shift"] == 1.0, found
    assert told["smalltalk"] == 1.0, found
    assert told["opening"] == alone["opening"], found


def _shares(counts: object) -> dict[str, float]:
    assert isinstance(counts, dict)
    return {kind: row["among_5"] / row["turns"] for kind, row in counts.items()}


def test_there_are_enough_questions_over_many_articles() -> None:
    questions = read_questions(QUESTIONS)
    assert len(questions) >= 60
    assert len({str(question["question"]) for question in questions}) == len(questions)
    assert len({str(question["title"]) for question in questions}) >= 50
