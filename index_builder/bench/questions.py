"""How often the right article, and a passage that holds the answer, are found for questions."""

from __future__ import annotations

import json
from pathlib import Path

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, Retriever

NUM_PASSAGES = 5
Question = dict[str, object]


def measure(index: Path, encoder_name: str, questions: Path) -> dict[str, object]:
    """The shares over all questions; hits are not grown by their neighbours, so each is one window."""
    manifest = read_manifest(index)
    retriever = IndexRetriever(index, Encoder(encoder_name, precision="auto"), manifest.score_floor, timeout_s=60)
    try:
        shares = shares_found(retriever, read_questions(questions))
    finally:
        retriever.close()
    return {"index": manifest.label, "window_sentences": manifest.passages.window_sentences, **shares}


def read_questions(path: Path) -> list[Question]:
    """One JSON object a line: question, the title of the article that answers it, and texts of which one must be in
    a passage that does.
    """
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def shares_found(retriever: Retriever, questions: list[Question]) -> dict[str, object]:
    """Of all questions, how many have the right article first, and the answer first or among the first five."""
    num_article = num_first = num_among = 0
    missed: list[object] = []
    for question in questions:
        found = retriever.search(Query(str(question["question"]), NUM_PASSAGES, 0, threshold=1.0))
        answers = [_answers(passage, question) for passage in found]
        num_article += bool(found) and found[0].title == question["title"]
        num_first += any(answers[:1])
        num_among += any(answers)
        if not any(answers):
            missed.append(question["question"])
    return {
        "questions": len(questions),
        "article_first": round(num_article / len(questions), 4),
        "answer_first": round(num_first / len(questions), 4),
        f"answer_among_{NUM_PASSAGES}": round(num_among / len(questions), 4),
        "missed": missed,
    }


def _answers(passage: Passage, question: Question) -> bool:
    wanted = question["answers"]
    assert isinstance(wanted, list), question
    text = passage.text.lower()
    return passage.title == question["title"] and any(answer.lower() in text for answer in wanted)
