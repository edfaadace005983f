"""Passage shards: the same on every run, whoever cut them and wherever an earlier run stopped."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from index_builder.documents import Document
from index_builder.documents.source import Source, open_source
from index_builder.embeddings import read_shard
from index_builder.passages import batch
from index_builder.passages.batch import BatchCutter, item_batches
from index_builder.passages.passage_shards import PassageRequest, PassageTotals, UniqueIds, write_passages
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, WorkFolderError
from tests.unit.index_builder.dumps import article, page, write_dump

QUIET = Progress(quiet=True)


def cut(source: Source, folder: Path, shard_passages: int = 50) -> PassageTotals:
    return write_passages(
        source, PassageRequest("test", shard_passages=shard_passages), WorkFolder(folder), Workers(1), QUIET
    )


def rows(folder: Path) -> list[dict[str, object]]:
    return pa.concat_tables([read_shard(path) for path in WorkFolder(folder).passage_shards()]).to_pylist()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    pages = [article(number) if number % 3 else page(f"R{number}", "#REDIRECT [[X]]") for number in range(100)]
    return open_source(str(write_dump(tmp_path / "d.xml.bz2", *pages)))


def test_totals_count_documents_passages_and_causes(tmp_path: Path, source: Source) -> None:
    totals = cut(source, tmp_path / "w")
    assert (totals.num_documents, totals.skipped) == (66, {"redirect": 34})
    assert totals.num_passages == len(rows(tmp_path / "w")) == 66 * 6


def test_a_document_that_cannot_be_cut_is_counted_by_name(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_whole = batch.cut_document

    def cut_most(document: Document, shape: WindowShape) -> object:
        if document.title == "Article 4":
            raise RecursionError("too deep")
        return cut_whole(document, shape)

    monkeypatch.setattr(batch, "cut_document", cut_most)
    totals = cut(source, tmp_path / "w")
    assert totals.num_documents == 65
    assert totals.examples["broken document"] == ["Article 4"]


def test_every_passage_id_is_its_own(tmp_path: Path, source: Source) -> None:
    cut(source, tmp_path / "w")
    ids = [row["passage_id"] for row in rows(tmp_path / "w")]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("num_kept", [0, 1, 3, 5])
def test_a_run_that_was_killed_goes_on_to_the_same_shards(tmp_path: Path, source: Source, num_kept: int) -> None:
    whole = cut(source, tmp_path / "whole")
    cut(source, tmp_path / "killed")
    killed = WorkFolder(tmp_path / "killed")
    for shard in killed.passage_shards()[num_kept:]:
        shard.unlink()
    (killed.path / "passages.done.json").unlink()
    again = cut(source, killed.path)
    assert again == whole
    assert rows(killed.path) == rows(tmp_path / "whole")


def test_a_finished_stage_is_only_looked_up(tmp_path: Path, source: Source) -> None:
    first = cut(source, tmp_path / "w")
    for shard in WorkFolder(tmp_path / "w").passage_shards():
        shard.unlink()
    assert cut(source, tmp_path / "w") == first
    assert WorkFolder(tmp_path / "w").passage_shards() == []


def test_a_document_that_comes_twice_gets_an_id_of_its_own(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "d.xml", article(1), article(1), page("Other", "Words of another.", page_id=1))
    cut(open_source(str(path)), tmp_path / "w")
    documents = {row["document_id"]: row["title"] for row in rows(tmp_path / "w")}
    assert documents == {"1": "Article 1", "1~2": "Article 1", "1~3": "Other"}
    ids = [row["passage_id"] for row in rows(tmp_path / "w")]
    assert len(set(ids)) == len(ids)


def test_ids_stay_their_own_when_a_run_goes_on(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "d.xml", *(article(number % 20) for number in range(60)))
    cut(open_source(str(path)), tmp_path / "whole")
    cut(open_source(str(path)), tmp_path / "killed")
    killed = WorkFolder(tmp_path / "killed")
    for shard in killed.passage_shards()[2:]:
        shard.unlink()
    (killed.path / "passages.done.json").unlink()
    cut(open_source(str(path)), killed.path)
    assert rows(killed.path) == rows(tmp_path / "whole")


def test_batches_skip_what_was_read_before() -> None:
    assert [each.first_item for each in item_batches(range(100), 30)] == [30, 46, 62, 78, 94]
    assert [item for each in item_batches(range(100), 30) for item in each.items] == list(range(30, 100))


def test_a_batch_is_cut_alike_in_another_process(source: Source) -> None:
    from index_builder.documents import ReadReport
    from index_builder.processes import ordered_map

    batches = list(item_batches(source.items(ReadReport()), 0))[:3]
    cutter = BatchCutter(source, WindowShape())
    here, there = ([cut.rows.to_pylist() for cut in ordered_map(cutter, batches, n)] for n in (1, 2))
    assert here == there


def test_other_settings_do_not_mix_with_earlier_shards(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "w")
    work.claim("passages", {"stride-sentences": "3"})
    with pytest.raises(WorkFolderError, match="was begun with stride-sentences '3', now it is '1'"):
        work.claim("passages", {"stride-sentences": "1"})


def test_unique_ids_grow_without_losing_any() -> None:
    ids = UniqueIds()
    assert [ids.take(str(number)) for number in range(5000)] == [str(number) for number in range(5000)]
    assert ids.take("4999") == "4999~2"
    assert len(ids) == 5001
