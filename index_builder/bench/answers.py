"""How often questions, alone and in conversations, find a passage that answers them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Exchange, Query
from server.retrieval.retriever import Passage, Retriever

NUM_PASSAGES, WINDOW, THRESHOLD = 5, 5, 0.5  # hits are grown as the server grows them
SMALL_TALK = "smalltalk"
Turn = dict[str, object]
Question = dict[str, object]


def measure_conversations(index: Path, encoder_name: str, conversations: Path) -> dict[str, object]:
    """The counts by kind of turn, with the conversation and, beside it, of each question alone; and both times."""
    manifest = read_manifest(index)
    retriever = IndexRetriever(index, Encoder(encoder_name, precision="auto"), manifest.score_floor, timeout_s=60)
    try:
        told = read_conversations(conversations)
        return {
            "index": manifest.label,
            "alone": counts(retriever, told, follow=False),
            "in_conversation": counts(retriever, told, follow=True),
            "ms": times(retriever, told),
        }
    finally:
        retriever.close()


def read_conversations(path: Path) -> list[list[Turn]]:
    """One JSON object a line with its turns: question, kind, the title of the article that answers it (none for small
    talk), and texts of which one must be in a passage that does.
    """
    return [json.loads(line)["turns"] for line in path.read_text().splitlines() if line.strip()]


def counts(retriever: Retriever, conversations: list[list[Turn]], *, follow: bool) -> dict[str, dict[str, int]]:
    """By kind: turns, and how many have an answer first and among the first five; small talk wants nothing."""
    found: dict[str, dict[str, int]] = {}
    for turns in conversations:
        for number, turn in enumerate(turns):
            passages = retriever.search(_query(turns, number if follow else 0, turn))
            answers = [_answers(passage, turn) for passage in passages]
            if turn["kind"] == SMALL_TALK:
                answers = [not passages]
            row = found.setdefault(str(turn["kind"]), {"turns": 0, "first": 0, f"among_{NUM_PASSAGES}": 0})
            row["turns"] += 1
            row["first"] += any(answers[:1])
            row[f"among_{NUM_PASSAGES}"] += any(answers)
    return found


def times(retriever: Retriever, conversations: list[list[Turn]]) -> dict[str, float]:
    """Medians of a search in milliseconds; every question is worded anew, so none is known from before."""
    taken: dict[str, list[float]] = {"opening": [], "follow_up": []}
    for turns in conversations:
        for number, turn in enumerate(turns):
            fresh = turn | {"question": f"{turn['question']} please"}
            started = time.perf_counter()
            retriever.search(_query(turns, number, fresh))
            taken["follow_up" if number else "opening"].append(1000 * (time.perf_counter() - started))
    return {kind: round(median(each), 2) for kind, each in taken.items()}


def _query(turns: list[Turn], num_earlier: int, turn: Turn) -> Query:
    earlier = [Exchange(str(each["question"])) for each in turns[:num_earlier]]
    return Query(str(turn["question"]), NUM_PASSAGES, WINDOW, threshold=THRESHOLD, earlier=earlier)


def _answers(passage: Passage, turn: Turn) -> bool:
    wanted = turn["answers"]
    assert isinstance(wanted, list), turn
    text = passage.text.lower()
    return passage.title == turn["title"] and any(answer.lower() in text for answer in wanted)


def measure_questions(index: Path, encoder_name: str, questions: Path) -> dict[str, object]:
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
