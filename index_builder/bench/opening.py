"""What opening an index costs beside its encoder; to be run in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

from index_builder.bench.machine import resident_mib
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Query

_QUESTION = "Which river flows through the city?"


def measure(index: Path, encoder_name: str) -> dict[str, object]:
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
