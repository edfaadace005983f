"""The passages and vectors of a published index, as they are read."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_builder.documents import ReadReport
from index_builder.documents.records import USUAL_COLUMNS, Columns
from index_builder.existing.published import (
    ArrayVectors,
    IndexVectors,
    LayoutError,
    PublishedPassage,
    PublishedTable,
    find_layout,
    unit_vectors,
)
from tests.unit.index_builder.vectors import clustered


def passages(path: Path, columns: Columns = USUAL_COLUMNS) -> tuple[list[PublishedPassage], ReadReport]:
    report = ReadReport()
    return list(PublishedTable((path,), columns).passages(report)), report


def write(path: Path, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def places(found: list[PublishedPassage]) -> list[tuple[str, int, int]]:
    return [(passage.document_id, passage.ordinal, passage.start) for passage in found]


def test_a_position_that_starts_anew_begins_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", text_snippet=["One.", "Two.", "Three."], position_in_source_text=[0, 9, 0])
    assert places(passages(path)[0]) == [("1", 0, 0), ("1", 1, 5), ("2", 0, 0)]


def test_titles_and_urls_tell_documents_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", text=["One.", "Two.", "Three."], title=["A", "A", "B"])
    found, report = passages(path)
    assert places(found) == [("1", 0, 0), ("1", 1, 5), ("2", 0, 0)]
    assert [passage.title for passage in found] == ["A", "A", "B"]
    assert report.num_documents == 2


def test_an_id_tells_documents_apart_only_when_it_was_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", text=["One.", "Two.", "Three."], id=["x", "x", "y"])
    assert places(passages(path, Columns(id="id"))[0]) == [("x", 0, 0), ("x", 1, 5), ("y", 0, 0)]
    assert places(passages(path)[0]) == [("1", 0, 0), ("2", 0, 0), ("3", 0, 0)]


def test_rows_without_text_keep_their_numbers_and_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", text_snippet=["One.", None, " ", "Four."])
    found, report = passages(path)
    assert [(passage.row, passage.text) for passage in found] == [(0, "One."), (3, "Four.")]
    assert report.examples == {"no text": ["row 1", "row 2"]}


def test_a_table_without_its_text_column_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", snippet=["One."], page=[1])
    with pytest.raises(
        LayoutError, match=r"t\.parquet has no column 'text_snippet' .* its columns are 'page', 'snippet'"
    ):
        passages(path)
    assert passages(path, Columns(text="snippet"))[0][0].text == "One."


def test_arrays_are_one_matrix_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    rows = clustered(30, 8).astype(np.float32)
    write(tmp_path / "t.parquet", text=["One."])
    for number in range(11):
        np.save(tmp_path / f"emb_{number}.npy", rows[number * 2 : number * 2 + 2] if number < 10 else rows[20:])
    vectors = ArrayVectors(find_layout(tmp_path).arrays)
    assert (vectors.num_rows, vectors.dimension) == (30, 8)
    wanted = np.array([0, 1, 5, 19, 20, 29])
    assert np.array_equal(vectors.rows(wanted), rows[wanted])


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), dtype=np.int64), np.zeros((1, 2, 3))])
def test_an_array_that_is_no_matrix_of_numbers_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "emb.npy", array)
    with pytest.raises(LayoutError, match=r"emb\.npy holds .*; legal are matrices of floating-point numbers"):
        ArrayVectors((tmp_path / "emb.npy",))


def test_arrays_of_different_widths_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((2, 5), np.float32))
    with pytest.raises(LayoutError, match=r"b\.npy holds vectors of 5 numbers"):
        ArrayVectors((tmp_path / "a.npy", tmp_path / "b.npy"))


@pytest.mark.parametrize(
    ("kind", "least"), [("Flat", 0.9999), ("IVF4,Flat", 0.9999), ("HNSW8", 0.9999), ("IVF4,PQ8x4", 0.8)]
)
def test_a_faiss_index_gives_its_vectors_back(tmp_path: Path, kind: str, least: float) -> None:
    rows = clustered(800, 16).astype(np.float32)
    index = faiss.index_factory(16, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(tmp_path / "knn.index"))
    vectors = IndexVectors(tmp_path / "knn.index")
    wanted = np.arange(0, 800, 7)
    similarity = (unit_vectors(vectors.rows(wanted)) * rows[wanted]).sum(axis=1)
    assert (vectors.num_rows, vectors.dimension) == (800, 16)
    assert similarity.mean() > least


def test_an_index_that_keeps_no_order_of_its_vectors_is_told(tmp_path: Path) -> None:
    index = faiss.IndexIDMap(faiss.IndexFlatIP(4))
    index.add_with_ids(np.ones((2, 4), np.float32), np.array([5, 6]))
    faiss.write_index(index, str(tmp_path / "knn.index"))
    with pytest.raises(LayoutError, match=r"knn\.index cannot give its vectors back .*--vectors encoder"):
        IndexVectors(tmp_path / "knn.index").rows(np.array([0]))


def test_a_file_that_is_no_index_is_told(tmp_path: Path) -> None:
    (tmp_path / "knn.index").write_bytes(b"no such thing")
    with pytest.raises(LayoutError, match="cannot be opened as a Faiss index"):
        IndexVectors(tmp_path / "knn.index")


def test_vectors_without_a_direction_become_zeros() -> None:
    given = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [3e38, 3e38]], dtype=np.float32)
    assert unit_vectors(given).tolist()[:4] == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0], [0, 0], [0, 0]]
    assert unit_vectors(given).dtype == np.float32


def test_a_folder_without_tables_is_told_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "knn.index").write_bytes(b"")
    with pytest.raises(
        LayoutError, match=r"holds no \.parquet file of passages beside knn\.index; it holds knn\.index"
    ):
        find_layout(tmp_path)
    with pytest.raises(LayoutError, match="no such folder"):
        find_layout(tmp_path / "nothing")


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"no such thing")
    with pytest.raises(LayoutError, match="cannot be opened as a Parquet file"):
        PublishedTable((tmp_path / "t.parquet",), USUAL_COLUMNS)
