"""A published index becomes an index folder that the server searches, with the vectors it came with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from index_builder.__main__ import main
from index_builder.build import RecallDemand
from index_builder.existing.import_index import ImportPlan, import_index
from index_builder.existing.published import LayoutError
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.query import Query
from tests.unit.index_builder.existing.published import texts, write_published

QUIET = Progress(quiet=True)
TEXTS = texts(num_documents=300)  # two shards


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder("sample")


@pytest.fixture(scope="module")
def vectors(encoder: Encoder) -> np.ndarray:
    """As contriever's are: the encoder's own, but not of unit length."""
    lengths = np.random.default_rng(5).uniform(0.5, 2.0, size=(len(TEXTS), 1)).astype(np.float32)
    return encoder.encode(TEXTS) * lengths


def imported(published: Path, out: Path, **wishes: object) -> Manifest:
    plan = ImportPlan(published=published, encoder="sample", **wishes)  # type: ignore[arg-type]
    return import_index(plan, out, WorkFolder(out / ".work"), QUIET)


def stored(out: Path) -> np.ndarray:
    matrix = StoredVectors(out / VECTORS_FILE)
    return matrix.rows(np.arange(len(matrix)))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_published_vectors_are_kept_and_their_passages_found(
    tmp_path: Path, encoder: Encoder, vectors: np.ndarray
) -> None:
    published = write_published(tmp_path / "p", TEXTS, vectors, cuts=(7, 1000))
    manifest = imported(published, tmp_path / "out", name="wiki")
    assert (manifest.passages.num_passages, manifest.passages.num_documents) == (1200, 300)
    assert (manifest.passages.embedded, manifest.encoder.name) == ("{text}", "sample")
    assert manifest.index.recall["recall@10"] == 1.0
    assert np.allclose(stored(tmp_path / "out"), unit(vectors), atol=1e-3)
    retriever = IndexRetriever(tmp_path / "out", encoder, score_floor=0.0, timeout_s=60.0)
    found = [retriever.search(Query(TEXTS[row], 1, 0, 1.0))[0].passage_id for row in (0, 6, 7, 555, 1199)]
    grown = retriever.search(Query(TEXTS[555], 1, 5, 0.0))[0].text
    retriever.close()
    assert found == ["1:0", "2:2", "2:3", "139:3", "300:3"]
    assert grown == " ".join(TEXTS[552:556])  # all of its document, nothing of the next
    assert not (tmp_path / "out" / ".work").exists()


def test_vectors_come_out_of_the_faiss_index_where_there_are_no_arrays(tmp_path: Path, vectors: np.ndarray) -> None:
    published = write_published(tmp_path / "p", TEXTS, vectors, index="IVF8,Flat")
    imported(published, tmp_path / "out")
    assert np.allclose(stored(tmp_path / "out"), unit(vectors), atol=1e-3)


def test_without_vectors_the_passages_are_embedded(tmp_path: Path, encoder: Encoder) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], None)
    manifest = imported(published, tmp_path / "out")
    assert manifest.passages.embedded != "{text}"
    assert np.allclose(stored(tmp_path / "out"), encoder.encode(TEXTS[:40]), atol=0.02)


def test_passages_without_text_or_direction_are_left_out_with_their_vectors(
    tmp_path: Path, vectors: np.ndarray
) -> None:
    broken = vectors[:40].copy()
    broken[3] = np.nan
    broken[4] = 0
    passages: list[str | None] = list(TEXTS[:40])
    passages[10] = None
    manifest = imported(write_published(tmp_path / "p", passages, broken), tmp_path / "out")
    assert manifest.passages.skipped == {"no text": 1, "vector without direction": 2}
    kept = [row for row in range(40) if row not in (3, 4, 10)]
    assert np.allclose(stored(tmp_path / "out"), unit(vectors[kept]), atol=1e-3)


def test_a_killed_import_goes_on_to_the_same_index(tmp_path: Path, vectors: np.ndarray) -> None:
    broken = vectors.copy()
    broken[3] = 0
    published = write_published(tmp_path / "p", TEXTS, broken)
    whole = imported(published, tmp_path / "whole")
    plan, work = (
        ImportPlan(published=published, encoder="sample", demand=RecallDemand(0.5)),
        WorkFolder(tmp_path / "out" / ".work"),
    )
    with pytest.raises(KeyboardInterrupt):
        import_index(plan, tmp_path / "out", work, _KilledInStage("index"))
    (work.path / "passages.done.json").unlink()
    work.passage_shard(1).unlink()
    first = work.passage_shard(0).stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        import_index(plan, tmp_path / "out", work, _KilledInStage("index"))
    assert work.passage_shard(0).stat().st_mtime_ns == first
    again = import_index(plan, tmp_path / "out", work, QUIET)
    assert again.passages == whole.passages
    names = ("passages.arrow", "vectors.npy", "terms.npy", "term_starts.npy", "term_counts.npy", "knn.index")
    assert [again.files[name] for name in names] == [whole.files[name] for name in names]


def test_an_import_that_was_made_before_is_not_made_again(tmp_path: Path, vectors: np.ndarray) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], vectors[:40])
    assert imported(published, tmp_path / "out") == imported(published, tmp_path / "out")


def test_counts_that_disagree_are_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], vectors[:39])
    with pytest.raises(LayoutError, match=r"the tables hold 40 passages, but emb_0\.npy holds 39 vectors"):
        imported(published, tmp_path / "out")


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], np.ones((40, 8), np.float32))
    with pytest.raises(LayoutError, match=r"'sample' gives vectors of 384 numbers, those of emb_0\.npy have 8"):
        imported(published, tmp_path / "out")


@pytest.mark.parametrize("shift", [1, 4])
def test_vectors_of_other_rows_are_refused(tmp_path: Path, vectors: np.ndarray, shift: int) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], np.roll(vectors[:40], 4 * shift, axis=0))
    with pytest.raises(LayoutError, match=r"not those that encoder 'sample' gives the passages from row 0 on"):
        imported(published, tmp_path / "out")


def test_vectors_that_were_asked_for_must_be_there(tmp_path: Path) -> None:
    published = write_published(tmp_path / "p", TEXTS[:8], None)
    with pytest.raises(LayoutError, match=r"holds no \.npy file of vectors; legal are --vectors index and encoder"):
        imported(published, tmp_path / "out", vectors="arrays")
    with pytest.raises(LayoutError, match=r"holds no knn\.index; legal are --vectors arrays and encoder"):
        imported(published, tmp_path / "out", vectors="index")


def test_an_index_is_found_below_the_folder_but_only_one(tmp_path: Path, vectors: np.ndarray) -> None:
    write_published(tmp_path / "p" / "files", TEXTS[:40], vectors[:40], index="Flat")
    imported(tmp_path / "p", tmp_path / "out")
    assert np.allclose(stored(tmp_path / "out"), unit(vectors[:40]), atol=1e-3)
    write_published(tmp_path / "p" / "more", TEXTS[:40], vectors[:40], index="Flat")
    with pytest.raises(LayoutError, match=r"holds 2 files knn\.index; name the folder of one index"):
        imported(tmp_path / "p", tmp_path / "out")


def test_an_index_is_not_written_into_the_folder_it_comes_from(tmp_path: Path, vectors: np.ndarray) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], vectors[:40])
    with pytest.raises(LayoutError, match=r"--out .* lies in --from .*; name a folder outside of it"):
        imported(published, published / "ours")


def test_a_table_without_any_text_is_refused(tmp_path: Path) -> None:
    published = write_published(tmp_path / "p", [None, " "], None)
    with pytest.raises(LayoutError, match=r"hold no passage; left out: \{'no text': 2\}"):
        imported(published, tmp_path / "out")


def test_the_verb_writes_the_folder_and_reports(
    tmp_path: Path, vectors: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    published = write_published(tmp_path / "p", TEXTS[:40], vectors[:40])
    out = tmp_path / "out"
    flags = ["--from", str(published), "--encoder", "sample", "--out", str(out)]
    assert main(["--quiet", "import", *flags]) == 0
    assert "documents 10, passages 40" in capsys.readouterr().out
    assert read_manifest(out).name == "p"
    assert main(["--quiet", "import", "--from", str(tmp_path / "none"), *flags[2:]]) == 2
    assert "index_builder import: --from" in capsys.readouterr().err


class _KilledInStage(Progress):
    """Stops a run when it comes to the stage `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(quiet=True)
        self._name = name

    def stage(self, name: str, total: int | None, unit: str, done: int = 0) -> AbstractContextManager[tqdm]:
        if name == self._name:
            raise KeyboardInterrupt
        return super().stage(name, total, unit, done)
