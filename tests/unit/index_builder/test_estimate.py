"""What a build will take is said before it begins, and a disk that is too small is refused."""

from __future__ import annotations

import bz2
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from index_builder.__main__ import main
from index_builder.documents import ReadReport
from index_builder.documents.source import Source, open_source
from index_builder.embeddings import EmbedRequest
from index_builder.estimate import described, estimate
from index_builder.passages.batch import BatchCutter, ItemBatch, item_batches
from index_builder.passages.window import WindowShape
from server.retrieval.index.manifest import read_manifest
from tests.unit.index_builder.dumps import article, write_dump
from tests.unit.index_builder.dumps import dump as dump_of


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "d.xml", *(article(number, 6) for number in range(60)))


def test_counts_and_files_are_those_of_the_build(dump: Path, tmp_path: Path) -> None:
    found = estimate(open_source(str(dump)), WindowShape(), EmbedRequest("sample"), "auto")
    out = tmp_path / "out"
    assert main(["--quiet", "build", "--source", str(dump), "--encoder", "sample", "--out", str(out)]) == 0
    made = read_manifest(out)
    assert (found.num_documents, found.num_passages) == (made.passages.num_documents, made.passages.num_passages)
    for name in ("passages.arrow", "vectors.npy", "terms.npy", "term_starts.npy", "term_counts.npy", "knn.index"):
        assert found.files[name] == pytest.approx(made.files[name].num_bytes, rel=0.15, abs=4096), name


def test_a_part_of_a_source_stands_for_the_whole(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_builder.documents.compressed.READ_BYTES", 4096)
    whole = estimate(open_source(str(dump)), WindowShape(), EmbedRequest("sample"), "auto")
    part = estimate(open_source(str(dump)), WindowShape(), EmbedRequest("sample"), "auto", look_s=0.0)
    assert part.share < 0.6 < whole.share == 1.0
    assert part.num_passages == pytest.approx(whole.num_passages, rel=0.15)


def test_what_stands_at_the_end_counts_as_what_stands_at_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As dumps of several languages after one another: long articles first, then many short ones."""
    monkeypatch.setattr("index_builder.documents.compressed.READ_BYTES", 512)
    monkeypatch.setattr("index_builder.estimate._SMALL_BYTES", 0)
    pages = [*(article(n, 20) for n in range(400)), *(article(n, 1) for n in range(1000, 5000))]
    source = open_source(str(write_dump(tmp_path / "d.xml", *pages)))
    whole = sum(cut.rows.num_rows for cut in map(BatchCutter(source, WindowShape()), batches(source)))
    found = estimate(source, WindowShape(), EmbedRequest("sample"), "auto", look_s=0.0)
    assert found.share < 0.5
    assert found.num_passages == pytest.approx(whole, rel=0.15)


@pytest.mark.parametrize("name", ["d.xml", "d.xml.bz2"])
def test_places_are_spread_over_all_streams_of_a_dump(name: str, tmp_path: Path) -> None:
    parts = [dump_of(*(article(n, 20) for n in range(start, start + 20))) for start in range(0, 400, 20)]
    (tmp_path / name).write_bytes(b"".join(bz2.compress(part) if name.endswith("bz2") else part for part in parts))
    source = open_source(str(tmp_path / name))
    firsts = [next(items, None) for items in source.spread_items(ReadReport(), 4)]
    titles = [int(source.item_name(item).split()[1]) for item in firsts]
    assert titles[0] == 0
    assert all(after - before > 60 for before, after in pairwise(titles)), titles


def batches(source: Source) -> Iterator[ItemBatch]:
    return item_batches(source.items(ReadReport()), 0)


def test_a_dry_run_says_hours_and_money_and_does_nothing(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["build", "--source", str(dump), "--encoder", "sample", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*flags, "--price-per-hour", "36000", "--cores", "10"]) == 0
    told = capsys.readouterr().out
    assert "60 documents, 360 passages, Flat" in told
    assert "10 cores" in told
    assert "at 36000.0 an hour: " in told
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 20, 1 << 20, 1 << 20))
    assert main(flags) == 2
    assert "GiB free, the build needs" in capsys.readouterr().err


def test_it_says_which_part_was_read(dump: Path) -> None:
    found = estimate(open_source(str(dump)), WindowShape(), EmbedRequest("sample"), "auto")
    assert described(found, None, 2).startswith("estimate, from the whole source: 60 documents")
