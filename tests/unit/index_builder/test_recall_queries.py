"""Recall is measured on questions as people ask them, and on rows that can be found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from index_builder.__main__ import main
from index_builder.embeddings import read_shard
from index_builder.work_folder import WorkFolder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.index.passage_table import PassageTable
from tests.unit.index_builder.dumps import article, write_dump


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recall")
    dump = write_dump(folder / "d.xml", *(article(number) for number in range(8)))
    assert main(["--quiet", "passages", "--source", str(dump), "--work", str(folder / "w")]) == 0
    assert main(["--quiet", "embed", "--encoder", "sample", "--work", str(folder / "w"), "--workers", "1"]) == 0
    return folder / "w"


def test_queries_are_made_or_given(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = work.parent / "out"
    assert main(["--quiet", "train", "--work", str(work), "--out", str(out)]) == 0
    assert main(["--quiet", "evaluate", "--index", str(out)]) == 0
    facts = read_manifest(out).index
    assert facts.recall_queries == "48 titles, headings and beginnings of sentences"
    assert facts.recall == {"recall@1": 1.0, "recall@5": 1.0, "recall@10": 1.0, "recall@64": 1.0}
    low, high = facts.recall_interval["recall@10"]
    assert 0.9 < low < high == 1.0
    questions = work.parent / "q.jsonl"
    questions.write_text(json.dumps({"question": "What is sentence 2 of article 3?"}) + "\nWho wrote article 4?\n")
    assert main(["--quiet", "evaluate", "--index", str(out), "--questions", str(questions)]) == 0
    assert read_manifest(out).index.recall_queries == "2 questions of q.jsonl"
    questions.write_text("")
    assert main(["--quiet", "evaluate", "--index", str(out), "--questions", str(questions)]) == 2
    assert "holds no question" in capsys.readouterr().err


def test_rows_that_are_zero_or_no_numbers_are_named_and_never_found(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (shard,) = WorkFolder(work).vector_shards()
    vectors = np.load(shard)
    vectors[3] = 0
    vectors[5, 7] = np.nan
    vectors[9, 1] = np.inf
    np.save(shard, vectors)
    named = [read_shard(WorkFolder(work).passage_shard(0))["passage_id"][row].as_py() for row in (3, 5, 9)]
    out = work.parent / "without"
    for _ in range(2):  # a second run finds them gone, and says the same
        assert main(["--quiet", "train", "--work", str(work), "--out", str(out)]) == 0
    table = PassageTable(out / "passages.arrow")
    assert not {table.row(number).passage_id for number in range(len(table))} & set(named)
    facts = read_manifest(out).passages
    assert facts.skipped["passage whose vector is zero or not a number"] == 3
    assert facts.num_passages == len(table) == len(vectors) - 3
    assert all(name in caplog.text for name in named)
