"""The index that fits the size, built from shards, finds what exact search finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from index_builder import evaluation
from index_builder.evaluation import OperatingPoint, best_point, exact_neighbours, interval, sweep
from index_builder.index import faiss_index
from index_builder.index.faiss_index import (
    FLAT_LIMIT,
    MIN_ROWS_PER_LIST,
    MIN_SAMPLE_BYTES,
    FactoryError,
    choose_index,
    named_factory,
    train_on,
    untrained,
    write_kept,
)
from index_builder.index.index_files import index_facts, write_faiss_index, write_vector_file
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.index.vector_index import INDEX_FILE, LISTS_FILE, VectorIndex
from tests.unit.index_builder.vectors import clustered, write_shards

QUIET = Progress(quiet=True)


@pytest.mark.parametrize(
    ("num_vectors", "kind", "factory"),
    [
        (1, "flat", "Flat"),
        (FLAT_LIMIT - 1, "flat", "Flat"),
        (FLAT_LIMIT, "ivfpq", "IVF512,PQ48"),
        (1_000_000, "ivfpq", "IVF2048,PQ48"),
        (100_000_000, "ivfpq", "IVF16384_HNSW32,PQ24"),
    ],
)
def test_the_kind_fits_the_size(num_vectors: int, kind: str, factory: str) -> None:
    choice = choose_index("auto", num_vectors, 384, MIN_SAMPLE_BYTES)
    assert (choice.kind, choice.factory) == (kind, factory)
    assert str(num_vectors) in choice.reason


@pytest.mark.parametrize("dimension", [64, 384, 768, 1536])
@pytest.mark.parametrize("num_vectors", [FLAT_LIMIT, 1_000_000, 10_000_000, 140_000_000])
@pytest.mark.parametrize("sample_bytes", [1 << 30, 8 << 30, 32 << 30])
def test_every_list_is_trained_on_enough_vectors(num_vectors: int, dimension: int, sample_bytes: int) -> None:
    factory = choose_index("auto", num_vectors, dimension, sample_bytes).factory
    num_lists = int(factory.split(",")[0].split("_")[0].removeprefix("IVF"))
    assert num_lists * MIN_ROWS_PER_LIST <= min(num_vectors, sample_bytes // (4 * dimension))


@pytest.mark.parametrize("kind", ["ivfpq", "hnsw"])
@pytest.mark.parametrize("num_vectors", [1, 39, 300, 999])
def test_too_few_vectors_for_what_was_asked_are_searched_exactly(kind: str, num_vectors: int) -> None:
    choice = choose_index(kind, num_vectors, 32)  # type: ignore[arg-type]
    assert choice.kind == "flat"
    assert f"{kind} was asked for, but {num_vectors} vectors are too few" in choice.reason


@pytest.mark.parametrize(("dimension", "code_bytes"), [(768, 96), (384, 48), (100, 10), (7, 1), (1021, 1)])
def test_codes_divide_any_dimension(dimension: int, code_bytes: int) -> None:
    assert choose_index("ivfpq", 1000, dimension).factory.endswith(f",PQ{code_bytes}")


def build(tmp_path: Path, kind: str, num_rows: int = 6000) -> tuple[Path, np.ndarray]:
    rows = clustered(num_rows, 32)
    shards = write_shards(tmp_path / "vectors", rows, [1000, 1, 2999, num_rows - 4000])
    folder = tmp_path / "index"
    folder.mkdir()
    write_vector_file(shards, folder, QUIET)
    choice = choose_index(kind, num_rows, 32)  # type: ignore[arg-type]
    write_faiss_index(choice, shards, WorkFolder(tmp_path / "work"), folder, QUIET)
    return folder, rows


def test_full_wikipedia_gets_lists_that_a_large_machine_can_train() -> None:
    assert choose_index("auto", 65_000_000, 768, 8 << 30).factory == "IVF65536_HNSW32,PQ96"
    assert choose_index("auto", 65_000_000, 768, 1 << 30).factory == "IVF8192,PQ48"  # whose lists stay in memory


@pytest.mark.parametrize(
    "factory", ["Flat", "IVF32,SQ8", "OPQ8_32,IVF32,PQ8", "SQ8", "HNSW16,Flat", "IVF32_HNSW16,PQ8"]
)
def test_a_factory_of_ones_own_finds_what_exact_search_finds(tmp_path: Path, factory: str) -> None:
    rows = clustered(3000, 32)
    shards = write_shards(tmp_path / "vectors", rows, [1500, 1500])
    write_vector_file(shards, tmp_path, QUIET)
    choice = named_factory(factory, 32)
    write_faiss_index(choice, shards, WorkFolder(tmp_path / "work"), tmp_path, QUIET)
    points = sweep(tmp_path, index_facts(choice), moved(rows[::60]), QUIET)
    assert best_point(points, 0.95).recall_at_10 >= 0.95


@pytest.mark.parametrize("factory", ["IVF32,PQ8x6", "IVF32_HNSW16,PQ8x6", "OPQ8_32,IVF32,PQ8x6"])
def test_lists_are_those_of_the_nearest_centres_and_scores_are_inner_products(factory: str) -> None:
    rows = clustered(3000, 32).astype(np.float32)
    index = untrained(factory, 32)
    train_on(index, rows, max_per_list=100)
    index.add_with_ids(rows, np.arange(len(rows)))
    inverted = faiss.extract_index_ivf(index)
    assert (inverted.quantizer.metric_type, index.metric_type) == (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT)
    everywhere = faiss.SearchParametersIVF(nprobe=inverted.nlist)
    if isinstance(index, faiss.IndexPreTransform):
        everywhere = faiss.SearchParametersPreTransform(index_params=everywhere)
    scores, _ = index.search(rows[:20], 10, params=everywhere)
    inverted.make_direct_map()
    expected = -np.sort(-(rows[:20] @ index.reconstruct_n(0, len(rows)).T), axis=1)[:, :10]
    assert np.allclose(scores, expected, atol=1e-4)


def test_a_factory_that_faiss_does_not_know_is_told() -> None:
    with pytest.raises(FactoryError, match="--factory 'IFV32': no index of Faiss for 32 numbers"):
        named_factory("IFV32", 32)


@pytest.mark.parametrize("kind", ["flat", "ivfpq", "hnsw"])
def test_every_kind_finds_what_exact_search_finds(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "SHARD_VECTORS", 1500)
    folder, rows = build(tmp_path, kind)
    facts = index_facts(choose_index(kind, 6000, 32))  # type: ignore[arg-type]
    points = sweep(folder, facts, moved(rows[::60]), QUIET)
    chosen = best_point(points, 0.95)
    assert chosen.recall_at_10 >= 0.95
    assert chosen.recall_at_1 >= 0.95


def test_an_index_is_looked_into_ever_wider_until_it_finds_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_USUAL_BREADTHS", (1, 2))
    folder, rows = build(tmp_path, "ivfpq")
    facts = index_facts(choose_index("ivfpq", 6000, 32))
    queries = moved(rows[::100])
    assert {point.breadth for point in sweep(folder, facts, queries, QUIET, floor=0.1)} == {1, 2}
    widened = sweep(folder, facts, queries, QUIET, floor=0.9)
    assert max(point.breadth for point in widened) > 2
    assert min(best_point(widened, 0.9).recall_at_10_low, best_point(widened, 0.9).recall_at_64_low) >= 0.9
    num_lists = faiss.extract_index_ivf(faiss.read_index(str(folder / INDEX_FILE))).nlist
    assert max(point.breadth for point in sweep(folder, facts, queries, QUIET, floor=1.1)) == num_lists


def test_an_index_of_fewer_passages_than_are_asked_for_finds_them_all(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "vectors", clustered(4, 32), [4])
    choice = choose_index("auto", 4, 32)
    write_vector_file(shards, tmp_path, QUIET)
    write_faiss_index(choice, shards, WorkFolder(tmp_path / "work"), tmp_path, QUIET)
    (point,) = sweep(tmp_path, index_facts(choice), clustered(4, 32).astype(np.float32), QUIET)
    assert (point.recall_at_1, point.recall_at_5, point.recall_at_10) == (1.0, 1.0, 1.0)


def test_rows_of_one_text_are_all_near(tmp_path: Path) -> None:
    rows = clustered(3, 32)[np.arange(2000) % 3]
    shards = write_shards(tmp_path / "vectors", rows, [2000])
    choice = choose_index("flat", 2000, 32)
    write_vector_file(shards, tmp_path, QUIET)
    write_faiss_index(choice, shards, WorkFolder(tmp_path / "work"), tmp_path, QUIET)
    (point,) = sweep(tmp_path, index_facts(choice), moved(rows[:50]), QUIET)
    assert (point.recall_at_1, point.recall_at_10, point.recall_at_64) == (1.0, 1.0, 1.0)


def test_a_point_is_chosen_that_is_above_the_floor_for_sure() -> None:
    def point(recall: float, p50_ms: float) -> OperatingPoint:
        low = interval(recall, 130)[0]
        return OperatingPoint(4, 64, 1.0, 1.0, recall, recall, low, low, p50_ms, p50_ms, 1000 / p50_ms)

    fast, sure, slow = point(0.968, 1.0), point(0.993, 2.0), point(1.0, 9.0)
    assert best_point([fast, sure, slow], 0.95) == sure
    assert best_point([fast], 0.95) == fast
    assert best_point([fast, slow], 0.999) == slow


@pytest.mark.parametrize(("share", "number", "bounds"), [(1.0, 130, (0.9713, 1.0)), (0.5, 100, (0.4038, 0.5962))])
def test_a_share_measured_on_few_queries_is_uncertain(share: float, number: int, bounds: tuple[float, float]) -> None:
    assert interval(share, number) == pytest.approx(bounds, abs=1e-4)


def moved(rows: np.ndarray) -> np.ndarray:
    """Queries near these rows."""
    found = rows.astype(np.float32) + 0.1 * np.random.default_rng(3).standard_normal(rows.shape, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_rows_keep_their_numbers_over_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "SHARD_VECTORS", 1500)
    folder, rows = build(tmp_path, "ivfpq")
    vectors = StoredVectors(folder / VECTORS_FILE)
    facts = index_facts(choose_index("ivfpq", 6000, 32))
    index = VectorIndex(folder / INDEX_FILE, facts, vectors)
    for row in (0, 999, 1000, 1001, 3999, 4000, 5999):
        scores, found = index.search(rows[row : row + 1].astype(np.float32), 1)
        assert found[0, 0] == row
        assert scores[0, 0] == pytest.approx(1.0, abs=2e-3)


def test_filling_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "SHARD_VECTORS", 1500)
    folder, rows = build(tmp_path, "ivfpq")
    whole = (folder / INDEX_FILE).read_bytes()
    (folder / INDEX_FILE).unlink()
    filled = sorted((tmp_path / "work" / "index").glob("0*.index"))
    filled[-1].unlink()
    stamps = {path: path.stat().st_mtime_ns for path in filled[:-1]}
    shards = write_shards(tmp_path / "vectors", rows, [1000, 1, 2999, 2000])
    write_faiss_index(choose_index("ivfpq", 6000, 32), shards, WorkFolder(tmp_path / "work"), folder, QUIET)
    assert (folder / INDEX_FILE).read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_codes_that_are_kept_are_those_of_an_index_filled_anew(tmp_path: Path) -> None:
    folder, rows = build(tmp_path, "ivfpq")
    kept = np.arange(6000) % 7 != 0
    after = [rows[kept], clustered(300, 32, seed=5)]
    choice = choose_index("ivfpq", 6000, 32)
    for name, wanted in (("anew", choice), ("kept", replace(choice, num_kept=int(kept.sum())))):
        shards = write_shards(tmp_path / name / "vectors", np.concatenate(after), [len(after[0]), len(after[1])])
        work = WorkFolder(tmp_path / name / "work")
        write_kept(folder, work, kept, piece_bytes=10_000)
        pieces = list((work.path / "index").glob("kept*"))
        assert len(pieces) > 2
        for piece in pieces if not wanted.num_kept else ():
            piece.unlink()
        (tmp_path / name / "out").mkdir()
        write_faiss_index(wanted, shards, work, tmp_path / name / "out", QUIET)
    for file in (INDEX_FILE, LISTS_FILE):
        assert (tmp_path / "anew" / "out" / file).read_bytes().replace(b"anew", b"kept") == (
            tmp_path / "kept" / "out" / file
        ).read_bytes()


def test_exact_neighbours_are_those_of_the_whole_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_builder.evaluation.BLOCK_ROWS", 70)
    rows = clustered(300, 16)
    np.save(tmp_path / "v.npy", rows)
    queries = clustered(20, 16, seed=9).astype(np.float32)
    scores, found = exact_neighbours(queries, StoredVectors(tmp_path / "v.npy"), 5)
    expected = queries @ rows.astype(np.float32).T
    assert (found == np.argsort(-expected, axis=1, kind="stable")[:, :5]).all()
    assert np.allclose(scores, -np.sort(-expected, axis=1)[:, :5], atol=1e-6)


def test_a_sample_is_spread_over_all_shards(tmp_path: Path) -> None:
    rows = np.arange(1000, dtype=np.float16)[:, None].repeat(2, axis=1)
    shards = write_shards(tmp_path, rows, [333, 333, 334])
    assert shards.sample(100)[:, 0].tolist() == list(range(0, 1000, 10))
    assert len(shards.sample(5000)) == 1000
    assert len(shards.sample(999)) == 999
    assert shards.sample(3)[:, 0].tolist() == [0, 333, 666]


def test_the_lists_lie_beside_the_index_wherever_both_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = build(tmp_path, "ivfpq")
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    index = VectorIndex(
        moved / INDEX_FILE, index_facts(choose_index("ivfpq", 6000, 32)), StoredVectors(moved / VECTORS_FILE)
    )
    assert index.search(rows[5:6].astype(np.float32), 1)[1][0, 0] == 5


def test_a_flat_index_is_searched_where_it_lies(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, "flat")
    index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    assert index.ntotal == 6000
