"""Words find the passages that vectors miss."""

from __future__ import annotations

import shutil
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from index_builder.index.index_files import write_inverted_words
from index_builder.progress import Progress
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.inverted_words import WORD_ROWS_FILE, WORD_STARTS_FILE, WORDS_FILE, InvertedWords
from server.retrieval.index.lexical_index import TERM_STARTS_FILE, TERMS_FILE
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.ranking import IndexParts
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.index.terms import FIRST_TERM
from server.retrieval.query import Query
from server.retrieval.retriever import RetrievalError

FILES = (WORDS_FILE, WORD_STARTS_FILE, WORD_ROWS_FILE)


@pytest.fixture
def lists(tmp_path: Path) -> dict[int, list[int]]:
    """The rows of each word of 400 passages, and in `tmp_path` the term files that say the same."""
    rng = np.random.default_rng(3)
    passages = [rng.zipf(1.4, size=rng.integers(0, 30)).clip(max=1 << 31) * 9973 % (1 << 32) for _ in range(400)]
    np.save(tmp_path / TERMS_FILE, np.concatenate(passages).astype(np.uint32))
    np.save(tmp_path / TERM_STARTS_FILE, np.cumsum([0, *map(len, passages)]).astype(np.int64))
    wanted = defaultdict(list)
    for row, terms in enumerate(passages):
        for term in sorted(set(terms.tolist())):
            if term >= FIRST_TERM:
                wanted[term].append(row)
    return wanted


@pytest.mark.parametrize("part_pairs", [1 << 22, 100])
def test_every_word_has_the_rows_that_hold_it(tmp_path: Path, lists: dict[int, list[int]], part_pairs: int) -> None:
    assert write_inverted_words(tmp_path, Progress(quiet=True), part_pairs) == list(FILES)
    words, starts, rows = (np.load(tmp_path / name) for name in FILES)
    assert words.tolist() == sorted(lists)
    found = [rows[start:end].tolist() for start, end in pairwise(starts)]
    assert found == [lists[word] for word in sorted(lists)]


def test_the_rows_with_most_and_rarest_words_are_found(tmp_path: Path, lists: dict[int, list[int]]) -> None:
    write_inverted_words(tmp_path, Progress(quiet=True))
    inverted = InvertedWords(tmp_path, 400)
    rare, common = (choose(lists, key=lambda word: len(lists[word])) for choose in (min, max))
    hits = inverted.find([rare, common, 17], 1)
    assert set(lists[rare]) & set(hits.rows.tolist())
    assert hits.has_rare.all()
    alone = inverted.find([common], 10)
    assert 10 <= len(alone.rows) <= 40
    assert set(alone.rows.tolist()) <= set(lists[common])
    assert not alone.has_rare.any()
    assert inverted.find([17], 10).rows.tolist() == inverted.find([], 10).rows.tolist() == []


def test_a_rare_name_finds_its_passage_however_far_its_vector_is(index_folder: Path, encoder: Encoder) -> None:
    retriever = IndexRetriever(index_folder, encoder, score_floor=0.95, timeout_s=60)
    assert "Olof Brandt" in retriever.search(Query("Olof Brandt?"))[0].text
    assert retriever.search(Query("What is the weather like?")) == []
    assert retriever.search(Query("Hello, how are you today?")) == []
    retriever.close()


def test_an_index_without_the_lists_is_served_as_before(index_folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    old = shutil.copytree(index_folder, tmp_path / "old")
    for name in FILES:
        (old / name).unlink()
    retriever = IndexRetriever(old, encoder, score_floor=0.3, timeout_s=60)
    assert "Karin Falk" in retriever.search(Query("Who built the Lighthouse of Norrby?"))[0].text
    retriever.close()


def test_lists_that_do_not_fit_each_other_stop_the_opening(index_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(index_folder, tmp_path / "broken")
    np.save(broken / WORD_STARTS_FILE, np.zeros(3, np.int64))
    with pytest.raises(RetrievalError, match="inverted words"):
        InvertedWords.of(broken, 10)


def test_of_a_query_with_very_many_words_the_rarest_count(index_folder: Path) -> None:
    words = IndexParts.of(index_folder, read_manifest(index_folder)).words
    common, rare = "lighthouse lamp keeper velvet fox", " ".join(f"rareword{number}" for number in range(64))
    assert len(words.terms(common)) == 5
    assert words.terms(f"{common} {rare}") == words.terms(rare)
