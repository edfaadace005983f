"""Tables as documents: which columns are read, and what a broken row costs."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_builder.documents import Document, ReadReport, SkippedError, SourceError, open_source
from index_builder.documents.records import USUAL_COLUMNS, Columns

ROWS = [
    {"id": 7, "title": "Owls", "text": "They fly.\n\nAt night.", "url": "http://x.example/owls", "n": 1},
    {"id": 8, "title": None, "text": "Frogs croak.", "url": None, "n": 2},
]


def read(path: Path, columns: Columns = USUAL_COLUMNS) -> tuple[list[Document], ReadReport]:
    source, report, documents = open_source(str(path), columns), ReadReport(), []
    for item in source.items(report):
        try:
            documents.append(source.document(item))
        except SkippedError as skipped:
            report.skip(skipped.cause, skipped.name)
    return documents, report


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(content))
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.ndjson", "t.jsonl.gz", "t.jsonl.bz2"])
def test_rows_become_documents(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ROWS)
    documents, report = read(path)
    assert [(each.document_id, each.title, each.url) for each in documents] == [
        ("7", "Owls", "http://x.example/owls"),
        ("8", "", ""),
    ]
    assert [each.text for each in documents] == ["They fly.\nAt night.", "Frogs croak."]
    assert (report.skipped, report.source_bytes) == ({}, path.stat().st_size)


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_columns_are_those_that_were_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"body": "It rained.", "name": "Rain", "key": "r1", "link": "http://r.example"}])
    (document,), _ = read(path, Columns("body", "name", "key", "link"))
    assert (document.document_id, document.title, document.url) == ("r1", "Rain", "http://r.example")
    assert document.text == "It rained."


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_a_row_without_an_id_is_called_by_its_place(tmp_path: Path, name: str) -> None:
    documents, _ = read(write(tmp_path / name, [{"text": "One."}, {"text": "Two."}]))
    assert [document.document_id for document in documents] == [f"{name}:1", f"{name}:2"]


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
@pytest.mark.parametrize("columns", [USUAL_COLUMNS, Columns(text="words"), Columns("content", title="headline")])
def test_a_missing_column_is_told_with_those_there_are(tmp_path: Path, name: str, columns: Columns) -> None:
    path = write(tmp_path / name, [{"content": "It rained.", "kind": "weather"}])
    missing = columns.title or columns.text or "text"
    told = rf"{name} has no column '{missing}' \(--(text|title)-column\); its columns are 'content', 'kind'"
    with pytest.raises(SourceError, match=told):
        open_source(str(path), columns)


def test_a_text_column_of_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"column 'n' holds int64, not text; name another with --text-column"):
        open_source(str(write(tmp_path / "t.parquet", ROWS)), Columns(text="n"))


def test_broken_lines_cost_themselves_only_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [b'{"text": "One."}', b'{"text": ', b"", b'{"text": null}', b"{}", b'{"text": 5}', b"[1]"]
    path.write_bytes(b"\n".join([*lines, b'{"text": "caf\0"}', b'{"text": " "}', b'{"text": "\\ud800 Two."}']))
    documents, report = read(path)
    assert [document.text for document in documents] == ["One.", "Two."]
    assert report.examples == {
        "broken JSON line": ["t.jsonl:2", "t.jsonl:7"],
        "no text": ["t.jsonl:4", "t.jsonl:5"],
        "text that is no string": ["t.jsonl:6"],
        "no text of a known encoding": ["t.jsonl:8"],
        "no prose": ["t.jsonl:9"],
    }


def test_a_line_longer_than_memory_should_hold_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("index_builder.documents.records.MAX_LINE_BYTES", 1 << 19)
    path = write(tmp_path / "t.jsonl", [{"text": "One."}, {"text": "long " * 300_000}, {"text": "Three."}])
    with caplog.at_level(logging.WARNING):
        documents, report = read(path)
    assert [document.text for document in documents] == ["One.", "Three."]
    assert report.examples == {"line over the size limit": ["t.jsonl:2"]}
    assert "t.jsonl:2" in caplog.text


def test_nulls_and_bytes_that_are_no_text_in_parquet_are_counted(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"One.", b"caf\0", None]).buffers())
    pq.write_table(pa.table({"text": broken}), tmp_path / "t.parquet")
    documents, report = read(tmp_path / "t.parquet")
    assert [document.text for document in documents] == ["One."]
    assert report.examples == {"no text of a known encoding": ["t.parquet:2"], "no text": ["t.parquet:3"]}


def test_dictionary_columns_are_read_as_text(tmp_path: Path) -> None:
    column = pa.array(["One.", "Two.", "One."]).dictionary_encode()
    pq.write_table(pa.table({"text": column}), tmp_path / "t.parquet")
    assert [document.text for document in read(tmp_path / "t.parquet")[0]] == ["One.", "Two.", "One."]


def test_a_damaged_parquet_file_is_counted_and_the_rows_before_the_damage_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = pa.table({"text": [f"Row {number} of many." for number in range(4000)]})
    pq.write_table(rows, path, row_group_size=1000, compression="gzip")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    documents, report = read(path)
    assert [document.text for document in documents] == [f"Row {number} of many." for number in range(len(documents))]
    assert 1000 <= len(documents) < 4000
    assert report.skipped == {"damaged file": 1}


def test_a_file_that_is_no_parquet_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"no such thing")
    documents, report = read(tmp_path / "t.parquet")
    assert (documents, report.skipped) == ([], {"damaged file": 1})
