from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import mutate
from tests.fuzz.parsers import PARSERS, seeds


@pytest.mark.parametrize("name", PARSERS)
def test_each_file_of_the_corpus_is_read(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]()
    for content in seeds(name):
        parser.read(content, tmp_path)


@pytest.mark.parametrize("name", PARSERS)
def test_bytes_of_any_kind_are_read_or_refused_in_a_sentence(name: str) -> None:
    found = mutate(name, seconds=60, rng=random.Random(1), most=400)
    assert found["faults"] == []
