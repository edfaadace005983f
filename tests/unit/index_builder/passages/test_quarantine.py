"""A document that failed whenever it was tried is not tried again, and counts as it did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from index_builder.documents.file_source import RawFile
from index_builder.documents.source import open_source
from index_builder.passages import batch
from index_builder.passages.batch import read_failures
from index_builder.passages.passage_shards import PassageRequest, PassageTotals, write_passages
from index_builder.processes import OVER_TIME, Budget, Call, LimitError, Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder

CAUSE = {"bad.html": OVER_TIME, "worse.html": "document over the memory limit"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.md", "bad.html", "worse.html", "z.md"):
        (folder / name).write_text(f"The text of {name} is one sentence. This is another.")
    return folder


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often every file was read; some fail."""
    found: Counter[str] = Counter()

    def watched(call: Call[object], budget: Budget) -> object:
        _, _, item = call.argument  # type: ignore[misc]
        assert isinstance(item, RawFile)
        found[item.name] += 1
        if item.name in CAUSE:
            raise LimitError(CAUSE[item.name], "as it is")
        return call.function(call.argument)

    monkeypatch.setattr(batch, "watched", watched)
    return found


def cut(docs: Path, work: Path, known: Path | None = None) -> PassageTotals:
    request = PassageRequest(str(docs), quarantine=known)
    return write_passages(open_source(str(docs)), request, WorkFolder(work), Workers(1), Progress(quiet=True))


def shards(work: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (work / "passages").iterdir()}


def test_what_failed_is_listed_and_not_tried_again(docs: Path, tmp_path: Path, tried: Counter[str]) -> None:
    first = cut(docs, tmp_path / "one")
    known = tmp_path / "one" / "quarantine.jsonl"
    assert [(each.name, each.cause) for each in read_failures(known).values()] == list(CAUSE.items())
    again = cut(docs, tmp_path / "two", known)
    assert tried == {"a.md": 2, "z.md": 2, "bad.html": 1, "worse.html": 1}
    assert again == first
    assert again.skipped == dict.fromkeys(CAUSE.values(), 1)
    assert shards(tmp_path / "two") == shards(tmp_path / "one")
    assert (tmp_path / "two" / "quarantine.jsonl").read_bytes() == known.read_bytes()


def test_a_run_that_goes_on_knows_what_failed_before_it_was_killed(
    docs: Path, tmp_path: Path, tried: Counter[str]
) -> None:
    cut(docs, tmp_path / "w")
    (tmp_path / "w" / "passages.done.json").unlink()
    (tmp_path / "w" / "passages" / "000000.arrow").unlink()
    cut(docs, tmp_path / "w")
    assert tried["bad.html"] == tried["worse.html"] == 1
    assert len(read_failures(tmp_path / "w" / "quarantine.jsonl")) == 2


def test_a_document_that_has_changed_or_other_code_is_tried_again(
    docs: Path, tmp_path: Path, tried: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(docs, tmp_path / "one")
    known = tmp_path / "one" / "quarantine.jsonl"
    (docs / "bad.html").write_text("Mended.")
    cut(docs, tmp_path / "two", known)
    assert (tried["bad.html"], tried["worse.html"]) == (2, 1)
    monkeypatch.setattr(batch, "made_by", lambda: "another parser")
    cut(docs, tmp_path / "three", known)
    assert tried["worse.html"] == 2


def test_a_torn_last_line_is_overlooked(docs: Path, tmp_path: Path, tried: Counter[str]) -> None:
    cut(docs, tmp_path / "one")
    known = tmp_path / "one" / "quarantine.jsonl"
    known.write_bytes(known.read_bytes()[:-20])
    assert [each.name for each in read_failures(known).values()] == ["bad.html"]
    assert tried
