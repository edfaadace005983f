"""Searching an index: how often questions, alone and in conversations, find a passage that answers them; what opening
costs; many searches at once beside one at a time.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from index_builder.progress import resident_mib
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.passage_table import PASSAGES_FILE, PassageTable
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Exchange, Query
from server.retrieval.retriever import Passage, Retriever

_QUESTION_CHARS = 48
_K, _WINDOW, _THRESHOLD = 1, 5, 0.5  # what a turn asks for
_QUESTION = "Which river flows through the city?"


def measure_concurrency(index: Path, encoder_name: str, num_searches: int, num_rounds: int) -> dict[str, object]:
    """Searches/s of both in turns, and how long callers wait."""
    floor = read_manifest(index).score_floor
    retriever = IndexRetriever(index, Encoder(encoder_name, num_threads=1, precision="auto"), floor, timeout_s=120)
    queries = _queries(index, num_searches)
    alone_s, together_s, waits = [], [], np.empty(0)
    try:
        _one_at_a_time(retriever, queries)
        for _ in range(num_rounds):
            alone_s.append(_one_at_a_time(retriever, queries))
            seconds, waits = _at_once(retriever, queries)
            together_s.append(seconds)
    finally:
        retriever.close()
    return {
        "index": retriever.version,
        "searches": num_searches,
        "threads_of_the_encoder": 1,
        "one_at_a_time_seconds": [round(seconds, 3) for seconds in alone_s],
        "at_once_seconds": [round(seconds, 3) for seconds in together_s],
        "one_at_a_time_per_s": round(num_searches / min(alone_s), 1),
        "at_once_per_s": round(num_searches / min(together_s), 1),
        "gain": round(min(alone_s) / min(together_s), 2),
        "at_once_wait_ms": {f"p{share}": round(float(np.percentile(waits, share)) * 1e3, 1) for share in (50, 95)},
    }


def _queries(index: Path, num_searches: int) -> list[str]:
    """Questions of usual length: title and the beginning of passages spread over the index."""
    table = PassageTable(index / PASSAGES_FILE)
    rows = [table.row(int(row)) for row in np.linspace(0, len(table) - 1, num_searches)]
    table.close()
    return [f"{row.title}: {row.text}"[:_QUESTION_CHARS] for row in rows]


def _one_at_a_time(retriever: IndexRetriever, queries: list[str]) -> float:
    started = time.perf_counter()
    for query in queries:
        retriever.search(Query(query, _K, _WINDOW, threshold=_THRESHOLD))
    return time.perf_counter() - started


def _at_once(retriever: IndexRetriever, queries: list[str]) -> tuple[float, np.ndarray]:
    """Seconds for all, and each caller's own."""
    gate = threading.Barrier(len(queries) + 1)

    def search(query: str) -> float:
        gate.wait()
        started = time.perf_counter()
        retriever.search(Query(query, _K, _WINDOW, threshold=_THRESHOLD))
        return time.perf_counter() - started

    with ThreadPoolExecutor(len(queries)) as callers:
        waiting = [callers.submit(search, query) for query in queries]
        gate.wait()
        started = time.perf_counter()
        waits = np.array([wait.result() for wait in waiting])
        return time.perf_counter() - started, waits


def measure_opening(index: Path, encoder_name: str) -> dict[str, object]:
    """Seconds and resident memory, without reading or checking the files beforehand."""
    encoder = Encoder(encoder_name)
    encoder.encode([_QUESTION])
    before = resident_mib()
    started = time.perf_counter()
    retriever = IndexRetriever(index, encoder, score_floor=-1.0, timeout_s=60)
    seconds = time.perf_counter() - started
    opened = resident_mib()
    started = time.perf_counter()
    retriever.search(Query(_QUESTION, 5, 0, threshold=1.0))
    first_search = time.perf_counter() - started
    facts = retriever.info()
    searched = resident_mib()
    retriever.close()
    return {
        "passages": facts["passages"],
        "open_s": round(seconds, 3),
        "added_mib": round(opened - before, 1),
        "first_search_ms": round(first_search * 1e3, 1),
        "added_after_a_search_mib": round(searched - before, 1),
    }


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
    talk), texts of which one must be in a passage that does, and the reply, where the next question may need it.
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
    earlier = [Exchange(str(each["question"]), reply=str(each.get("reply", ""))) for each in turns[:num_earlier]]
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
