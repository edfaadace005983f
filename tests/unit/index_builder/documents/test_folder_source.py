"""A folder of files of many kinds as one source."""

from __future__ import annotations

import bz2
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from index_builder.__main__ import main
from index_builder.documents import ReadReport, SkippedError, SourceError, open_source, read_documents
from index_builder.documents.records import Columns
from index_builder.documents.source import source_bytes, source_fingerprint
from tests.unit.index_builder.documents.pdfs import pdf
from tests.unit.index_builder.dumps import article, write_dump


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "b").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config.txt").write_text("Hidden words.")
    (root / "b" / "page one.html").write_text("<h1>Page</h1><p>Of a site.")
    (root / "b" / "notes.md").write_text("# Notes\n\nOf a walk.")
    (root / "b-side.txt").write_text("The other side.")
    (root / "c.pdf").write_bytes(pdf(["A paper."]))
    (root / "d.jsonl").write_text('{"text": "A record."}\n')
    write_dump(root / "e.xml.bz2", article(1))
    (root / "picture.png").write_bytes(b"\x89PNG")
    (root / "z.txt").write_bytes(b"MZ\0\0\1")
    return root


def test_all_kinds_are_read_in_the_order_of_their_names(folder: Path) -> None:
    report = ReadReport()
    documents = list(read_documents(str(folder), report))
    assert [document.document_id for document in documents] == [
        "b/notes.md", "b/page one.html", "b-side.txt", "c.pdf", "d.jsonl:1", "1",
    ]  # fmt: skip
    assert documents[1].url == "b/page%20one.html"
    assert report.num_documents == 6


def test_what_is_left_out_is_counted_by_cause_and_named(folder: Path) -> None:
    report = ReadReport()
    list(read_documents(str(folder), report))
    assert report.examples == {
        "hidden file or folder": [".git"],
        "file of another kind (.png)": ["picture.png"],
        "no text of a known encoding": ["z.txt"],
    }
    assert report.source_bytes == source_bytes(open_source(str(folder)))


def test_documents_are_the_same_wherever_the_folder_lies(folder: Path, tmp_path: Path) -> None:
    before = list(read_documents(str(folder)))
    fingerprint = source_fingerprint(open_source(str(folder)))
    folder.rename(tmp_path / "moved")
    assert list(read_documents(str(tmp_path / "moved"))) == before
    assert source_fingerprint(open_source(str(tmp_path / "moved"))) == fingerprint


def test_the_fingerprint_changes_with_a_name_a_content_and_a_column(folder: Path) -> None:
    found = {source_fingerprint(open_source(str(folder)))}
    found.add(source_fingerprint(open_source(str(folder), Columns(text="text"))))
    (folder / "b-side.txt").write_text("The other sides")
    found.add(source_fingerprint(open_source(str(folder))))
    (folder / "b-side.txt").rename(folder / "a-side.txt")
    found.add(source_fingerprint(open_source(str(folder))))
    assert len(found) == 4


def test_a_source_parses_in_another_process_without_carrying_its_files_there(folder: Path) -> None:
    source = open_source(str(folder))
    items = list(source.items(ReadReport()))
    there = pickle.loads(pickle.dumps(source))
    assert there.files == []
    assert [there.document(item) for item in pickle.loads(pickle.dumps(items[:6]))] == [
        source.document(item) for item in items[:6]
    ]


def test_a_file_that_went_away_is_counted(folder: Path) -> None:
    source, report = open_source(str(folder / "b-side.txt")), ReadReport()
    (item,) = source.items(report)
    (folder / "b-side.txt").unlink()
    with pytest.raises(SkippedError, match=r"b-side\.txt: unreadable file"):
        source.document(item)


def test_files_and_folders_that_cannot_be_read_are_counted_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "closed").mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    whole_open, whole_scan, barred = Path.open, os.scandir, {"d.jsonl", "e.xml.bz2", "b-side.txt"}

    def opened(path: Path, *arguments: object, **named: object) -> object:
        if path.name in barred:
            raise PermissionError(13, "Permission denied", str(path))
        return whole_open(path, *arguments, **named)  # type: ignore[call-overload]

    def scanned(path: object) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole_scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "scandir", scanned)
    report = ReadReport()
    assert source_fingerprint(open_source(str(folder)))
    assert [document.document_id for document in read_documents(str(folder), report)] == [
        "b/notes.md", "b/page one.html", "c.pdf",
    ]  # fmt: skip
    assert sorted(report.examples.pop("unreadable file")) == ["b-side.txt", "d.jsonl", "e.xml.bz2", "gone.txt"]
    assert report.examples == {
        "hidden file or folder": [".git"],
        "file of another kind (.png)": ["picture.png"],
        "link to a folder": ["loop"],
        "unreadable folder": ["closed"],
        "no text of a known encoding": ["z.txt"],
    }


def test_a_file_whose_name_is_no_utf8_is_read_under_a_printable_one(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "w") as file:
        file.write("A few words.")
    assert source_fingerprint(open_source(str(tmp_path)))
    (document,) = read_documents(str(tmp_path))
    assert document.document_id == "caf\\xe9.txt"


def test_a_document_that_breaks_its_reader_is_skipped_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise UnicodeError("of a kind that nobody foresaw")

    monkeypatch.setattr("index_builder.documents.formats.html_page.declared_in_html", broken)
    (tmp_path / "a.html").write_text("<p>Some words.")
    (tmp_path / "b.txt").write_text("Other words.")
    (tmp_path / "c.txt").write_text("?!")
    report = ReadReport()
    assert [document.document_id for document in read_documents(str(tmp_path), report)] == ["b.txt"]
    assert report.examples == {"broken document": ["a.html"], "no prose": ["c.txt"]}
    assert "title='a.html' cause=broken document detail=UnicodeError" in caplog.text
    assert "title='c.txt' cause=no prose" in caplog.text


def test_a_compressed_file_that_is_no_dump_is_counted(tmp_path: Path) -> None:
    (tmp_path / "text.bz2").write_bytes(bz2.compress(b"Some words."))
    report = ReadReport()
    assert list(read_documents(str(tmp_path), report)) == []
    assert report.examples == {"no dump": ["text.bz2"]}


def test_archives_are_read_file_by_file(tmp_path: Path) -> None:
    inside = {
        "a/notes.md": b"# Notes\n\nOf a walk.",
        "d.jsonl": b'{"text": "A record."}\n',
        "x.png": b"",
        ".git/c.txt": b"x",
    }
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as packed:
        for name, content in inside.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    for name in ("all.zip", "all.tar.gz"):
        report = ReadReport()
        found = {document.document_id: document.text for document in read_documents(str(tmp_path / name), report)}
        assert found == {f"{name}/a/notes.md": "Of a walk.", f"{name}/d.jsonl:1": "A record."}
        assert report.skipped == {"file of another kind (.png)": 1, "hidden file or folder": 1}


def test_a_damaged_archive_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no archive")
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    report = ReadReport()
    assert list(read_documents(str(tmp_path), report)) == []
    assert report.skipped == {"damaged file": 2}


def test_a_source_that_holds_no_passage_is_told_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "t.jsonl").write_text('{"text": null}\n{"text": 5}\n')
    assert main(["--quiet", "passages", "--source", str(source), "--work", str(tmp_path / "w")]) == 2
    told = "holds no passage; left out: {'no text': 1, 'text that is no string': 1}"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["data.sqlite", "program", "program.exe", "picture.png.gz"])
def test_a_file_of_another_kind_is_refused_with_those_that_are_legal(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b")
    with pytest.raises(
        SourceError, match=r"cannot be read; legal are a MediaWiki dump .*\.parquet, .*\.json\), .* a folder"
    ):
        open_source(str(tmp_path / name))


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.exe").write_text("a,b")
    with pytest.raises(SourceError, match="a folder without any file that can be read; legal are"):
        open_source(str(tmp_path))


def test_a_table_in_a_folder_that_lacks_the_named_column_is_told(folder: Path) -> None:
    (folder / "b" / "odd.jsonl").write_text('{"words": "x"}\n')
    with pytest.raises(
        SourceError, match=r"odd\.jsonl has no column 'body' \(--text-column\); its columns are 'words'"
    ):
        open_source(str(folder), Columns(text="body"))


def test_lines_of_json_without_texts_are_rows_of_one_document_among_others(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(
        '{"question": "Why?", "from": {"name": "Ann"}}\nno JSON\n{"question": "How?"}\n'
    )
    (tmp_path / "note.txt").write_text("A note.")
    report = ReadReport()
    found = {document.document_id: document.text for document in read_documents(str(tmp_path), report)}
    assert found == {"note.txt": "A note.", "odd.jsonl": "question: Why?; from name: Ann\nquestion: How?"}
    assert report.skipped["part of a document: broken JSON line"] == 1
