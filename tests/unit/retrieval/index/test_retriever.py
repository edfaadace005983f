"""Searching an index: the right passage, grown by what belongs to it, and nothing when nothing is relevant."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from server.artifacts.folder import MANIFEST
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.question_vectors import QuestionVectors
from server.retrieval.index.manifest import Manifest, encode_manifest, read_manifest
from server.retrieval.index.ranking import IndexParts, Ranking, Wanted
from server.retrieval.index.relevance import NUM_CANDIDATES
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.index.small_talk import SmallTalk
from server.retrieval.query import Query
from server.retrieval.retriever import RetrievalError
from tests.unit.retrieval.small_index import ARTICLES, make_index


@pytest.mark.parametrize(
    ("question", "title", "answer"),
    [
        ("Who built the Lighthouse of Norrby?", "Lighthouse of Norrby", "Karin Falk"),
        ("How tall is the lighthouse tower?", "Lighthouse of Norrby", "41 metres"),
        ("What does the velvet fox eat?", "Velvet fox", "berries"),
        ("When are velvet foxes born?", "Velvet fox", "May"),
        ("What is copper bread made of?", "Copper bread", "barley"),
        ("How long is copper bread baked?", "Copper bread", "nine minutes"),
        ("Who won the Battle of Green Hill?", "Battle of Green Hill", "The city won"),
        ("How much did the duke pay after the battle?", "Battle of Green Hill", "ten thousand"),
    ],
)
def test_the_passage_that_answers_comes_first(
    retriever: IndexRetriever, question: str, title: str, answer: str
) -> None:
    passage = retriever.search(Query(question, k=1, window=0, threshold=1.0))[0]
    assert passage.title == title
    assert answer in passage.text
    assert passage.url == "https://wiki.example/wiki/" + title.replace(" ", "_")


def test_scores_fall_and_ids_are_of_the_document(retriever: IndexRetriever) -> None:
    passages = retriever.search(Query("Who kept the lighthouse?", k=5, window=0, threshold=1.0))
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert all(passage.passage_id.startswith(f"{passage.document_id}:") for passage in passages)


@pytest.mark.parametrize("text", ["Good morning", "Thank you!", "zxqv", "", "   ", "?!", "\x00", "日本語"])
def test_what_asks_for_nothing_gets_nothing(retriever: IndexRetriever, text: str) -> None:
    assert retriever.search(Query(text, k=3, window=5, threshold=0.5)) == []


def test_a_floor_of_one_leaves_nothing(index_folder: Path, encoder: Encoder) -> None:
    retriever = IndexRetriever(index_folder, encoder, score_floor=1.0, timeout_s=60)
    assert retriever.search(Query("Who built the Lighthouse of Norrby?", 3, 0, 1.0)) == []
    retriever.close()


def test_a_window_reaches_both_ends_of_its_document_and_no_further(retriever: IndexRetriever) -> None:
    for title in ARTICLES:
        passage = retriever.search(Query(f"What is the {title}?", k=1, window=50, threshold=-1.0))[0]
        assert passage.title == title
        opening, closing = ARTICLES[title][:20], ARTICLES[title][-20:]
        assert passage.text.startswith(opening)
        assert passage.text.endswith(closing)


@pytest.mark.parametrize("stride", [1, 2])
def test_overlapping_windows_grow_without_repeating_a_sentence(tmp_path: Path, encoder: Encoder, stride: int) -> None:
    retriever = IndexRetriever(make_index(tmp_path / "i", stride), encoder, score_floor=0.3, timeout_s=60)
    passage = retriever.search(Query("What is the Lighthouse of Norrby?", k=1, window=50, threshold=-1.0))[0]
    sentences = [sentence for sentence in passage.text.split(". ") if sentence]
    assert len(sentences) == len(set(sentences)) == 11
    retriever.close()


def test_a_high_threshold_keeps_the_hit_alone(retriever: IndexRetriever) -> None:
    alone, held = (
        retriever.search(Query("What does the velvet fox eat?", 1, window, threshold))[0].text
        for window, threshold in ((0, 0.0), (5, 0.9999))
    )
    assert alone == held


def test_growth_follows_similarity_one_neighbour_after_another(retriever: IndexRetriever, encoder: Encoder) -> None:
    """What the stored vectors say is what encoding hit and neighbours anew says."""
    table = [retriever._table.row(number) for number in range(len(retriever._table))]
    rows = [row for row in table if row.document_id == "1"]
    hit = retriever.search(Query("Who was the first keeper?", 1, 0, 1.0))[0]
    place = [row.passage_id for row in rows].index(hit.passage_id)
    texts = [f"{row.title}. {row.section}. {row.text}" if row.section else f"{row.title}. {row.text}" for row in rows]
    similarity = (lambda vectors: vectors @ vectors[place])(encoder.encode(texts))
    threshold = float(np.sort(similarity)[-3]) - 0.005
    first = last = place
    while first > 0 and similarity[first - 1] > threshold:
        first -= 1
    while last < len(rows) - 1 and similarity[last + 1] > threshold:
        last += 1
    grown = retriever.search(Query("Who was the first keeper?", 1, 50, threshold))[0].text
    assert all((row.text in grown) == (first <= number <= last) for number, row in enumerate(rows))


def test_a_hit_inside_an_earlier_window_is_not_given_again(retriever: IndexRetriever) -> None:
    passages = retriever.search(Query("Tell me about the lighthouse keepers", k=3, window=50, threshold=-1.0))
    assert len({passage.document_id for passage in passages}) == len(passages)


def test_no_row_is_given_twice_when_neighbourhoods_meet(
    retriever: IndexRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    passage = retriever._passage

    def noted(hit: int, rows: range, score: float) -> object:
        assert hit in rows
        given.extend(rows)
        return passage(hit, rows, score)

    monkeypatch.setattr(retriever, "_passage", noted)
    found = retriever.search(Query("lighthouse keeper lamp storm", k=20, window=1, threshold=-1.0))
    assert len(given) == len(set(given)) > len(found)


def test_what_a_search_finds_does_not_depend_on_its_batch(index_folder: Path, encoder: Encoder) -> None:
    asked: list[list[int]] = []
    parts = IndexParts.of(index_folder, read_manifest(index_folder))
    ranking = Ranking(parts, QuestionVectors(encoder), SmallTalk(encoder), 0.0)
    search = parts.index.search

    def searched(vectors: np.ndarray, num_candidates: int) -> object:
        asked.append([len(vectors), num_candidates])
        return search(vectors, num_candidates)

    parts.index.search = searched  # type: ignore[assignment, method-assign]
    few, many = Wanted("Who built the lighthouse?", 1), Wanted("What does the velvet fox eat?", 300)
    hits = ranking.find([few, many, few])
    assert sorted(asked) == [[1, 300], [2, NUM_CANDIDATES]]
    for alone, together in zip([ranking.find([query])[0] for query in (few, many, few)], hits, strict=True):
        assert alone.rows.tolist() == together.rows.tolist()
        assert alone.scores == pytest.approx(together.scores, abs=1e-5)


def test_concurrent_searches_are_encoded_in_batches(index_folder: Path, encoder: Encoder) -> None:
    sizes: list[int] = []
    held, entered = threading.Event(), threading.Event()

    class CountingEncoder:
        name, dimension, prompts = encoder.name, encoder.dimension, encoder.prompts

        def encode(self, texts: list[str], role: str = "passage") -> object:
            sizes.append(len(texts))
            if len(sizes) == 3:  # the first search, after the probe and the examples of small talk
                entered.set()
                assert held.wait(30)
            return encoder.encode(texts)

    retriever = IndexRetriever(index_folder, CountingEncoder(), 0.3, 60)  # type: ignore[arg-type]
    with ThreadPoolExecutor(20) as pool:
        queries = [Query(f"Who built the lighthouse, {n}?") for n in range(20)]
        futures = [pool.submit(retriever.search, queries[0])]
        assert entered.wait(30)  # alone, before the others come
        futures += [pool.submit(retriever.search, query) for query in queries[1:]]
        until = time.monotonic() + 30
        while retriever.num_waiting < 19 and time.monotonic() < until:
            time.sleep(0.01)
        held.set()
        found = {future.result()[0].title for future in futures}
    assert sizes[2:] == [1, 19]
    assert found == {"Lighthouse of Norrby"}
    retriever.close()


def test_a_search_that_takes_too_long_fails_with_a_sentence(index_folder: Path, encoder: Encoder) -> None:
    held = threading.Event()
    encoded: list[str] = []

    class SlowEncoder:
        name, dimension, prompts = encoder.name, encoder.dimension, encoder.prompts

        def encode(self, texts: list[str], role: str = "passage") -> object:
            encoded.extend(texts)
            if len(texts) == 1 and texts[0] == "slow":
                held.wait(30)
            return encoder.encode(texts)

    retriever = IndexRetriever(index_folder, SlowEncoder(), 0.3, timeout_s=0.1)  # type: ignore[arg-type]
    with pytest.raises(RetrievalError, match=r"took longer than 0\.1 s"):
        retriever.search(Query("slow", 1, 0, 1.0))
    with pytest.raises(RetrievalError, match=r"took longer than 0\.1 s"):
        retriever.search(Query("given up before its batch began", 1, 0, 1.0))
    held.set()
    retriever.close()
    assert "given up before its batch began" not in encoded


def test_a_search_after_close_fails_with_a_sentence(index_folder: Path, encoder: Encoder) -> None:
    retriever = IndexRetriever(index_folder, encoder, 0.3, 60)
    retriever.close()
    with pytest.raises(RetrievalError, match="the index search failed"):
        retriever.search(Query("Who?", 1, 0, 1.0))


def test_an_error_while_encoding_fails_with_a_sentence(retriever: IndexRetriever) -> None:
    with pytest.raises(RetrievalError, match="the index search failed: "):
        retriever.search(Query("half a character: \ud800", 1, 0, 1.0))
    assert retriever.search(Query("Who built the Lighthouse of Norrby?", 1, 0, 1.0))


def damaged(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def change_manifest(folder: Path, **changes: object) -> None:
    manifest: Manifest = msgspec.structs.replace(read_manifest(folder), **changes)
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))


def test_another_encoder_than_the_builders_is_refused(tmp_path: Path, index_folder: Path, encoder: Encoder) -> None:
    folder = damaged(index_folder, tmp_path / "i")
    facts = read_manifest(folder).encoder
    change_manifest(folder, encoder=msgspec.structs.replace(facts, probe_vector=facts.probe_vector[::-1], name="other"))
    with pytest.raises(RetrievalError, match=r"'sample' is not the one that built index .* at least 0.98 is legal"):
        IndexRetriever(folder, encoder, 0.3, 60)


def test_an_encoder_of_another_dimension_is_refused(tmp_path: Path, index_folder: Path, encoder: Encoder) -> None:
    folder = damaged(index_folder, tmp_path / "i")
    change_manifest(folder, encoder=msgspec.structs.replace(read_manifest(folder).encoder, dimension=768))
    with pytest.raises(RetrievalError, match=r"gives vectors of 384 numbers.*with 768"):
        IndexRetriever(folder, encoder, 0.3, 60)


@pytest.mark.parametrize("name", ["knn.index", "passages.arrow", "vectors.npy", "terms.npy", "manifest.json"])
@pytest.mark.parametrize("harm", ["missing", "empty", "rubbish"])
def test_a_damaged_index_is_refused_with_a_sentence(
    tmp_path: Path, index_folder: Path, encoder: Encoder, name: str, harm: str
) -> None:
    path = damaged(index_folder, tmp_path / "i") / name
    path.unlink()
    if harm != "missing":
        path.write_bytes(b"" if harm == "empty" else b"rubbish" * 100)
    with pytest.raises(RetrievalError, match=r"cannot be (opened|read)|has no manifest"):
        IndexRetriever(tmp_path / "i", encoder, 0.3, 60)


def test_version_and_facts_name_the_index(retriever: IndexRetriever, index_folder: Path) -> None:
    manifest = read_manifest(index_folder)
    assert retriever.version == manifest.label
    assert retriever.version.startswith("small/2")
    assert retriever.info()["passages"] == manifest.passages.num_passages
    assert manifest.passages.num_documents == 4
