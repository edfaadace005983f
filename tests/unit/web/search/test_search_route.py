"""POST /search answers 503 in time, whatever the retriever does."""

from __future__ import annotations

import threading
import time

import pytest

from server.config import Settings
from server.retrieval.guarded import Guarded
from server.retrieval.query import Query
from server.retrieval.retriever import Passage
from server.web.app import create_app
from tests.unit.web.fakes import FakeRetriever, Fakes


class Breaking(FakeRetriever):
    """Raises what no retriever should, or waits."""

    def __init__(self, error: Exception | None = None, held: threading.Event | None = None) -> None:
        super().__init__()
        self._error = error
        self._held = held

    def search(self, query: Query) -> list[Passage]:
        if self._held is not None:
            self._held.wait(30)
        if self._error is not None:
            raise self._error
        return []


def answered(retriever: FakeRetriever) -> tuple[int, str]:
    settings = Settings(max_body_bytes=64 * 1024, threads=12, retrieval_timeout_s=0.3)
    guarded = Guarded("own", retriever, settings.retrieval_timeout_s)  # as `open_retriever` gives every one
    client = create_app(Fakes(settings=settings, retriever=guarded).services).test_client()
    response = client.post("/search", json={"query": "Lincoln"})
    return response.status_code, response.json["error"]["code"]


@pytest.mark.parametrize("error", [KeyError("x"), ConnectionError(), RecursionError()])
def test_a_retriever_that_breaks_is_503(error: Exception) -> None:
    assert answered(Breaking(error)) == (503, "retrieval_unavailable")


def test_a_retriever_that_hangs_is_503_at_the_time_limit() -> None:
    held = threading.Event()
    started = time.monotonic()
    assert answered(Breaking(held=held)) == (503, "retrieval_unavailable")
    assert time.monotonic() - started < 5
    held.set()
