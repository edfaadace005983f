"""What opening an index costs, and many searches at once beside one at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from index_builder.bench.machine import resident_mib
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.passage_table import PassageTable
from server.retrieval.index.retriever import PASSAGES_FILE, IndexRetriever
from server.retrieval.query import Query

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
