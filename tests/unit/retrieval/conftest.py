"""One encoder and one small index for all retrieval tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.retriever import IndexRetriever
from tests.unit.retrieval.small_index import make_index


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder("sample")


@pytest.fixture(scope="session")
def index_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("index") / "small")


@pytest.fixture(scope="session")
def retriever(index_folder: Path, encoder: Encoder) -> Iterator[IndexRetriever]:
    retriever = IndexRetriever(index_folder, encoder, score_floor=0.3, timeout_s=60)
    yield retriever
    retriever.close()
