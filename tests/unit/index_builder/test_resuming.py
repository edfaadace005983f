"""What a run finds of earlier ones: another that still runs, drafts, and shards that do not fit together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_builder.__main__ import main
from index_builder.build import BuildPlan, build
from index_builder.documents.source import open_source
from index_builder.passages.passage_shards import PassageRequest, PassageTotals, write_passages
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, WorkFolderError
from tests.unit.index_builder.dumps import article, write_dump

QUIET = Progress(quiet=True)
_HOLDER = """
import sys, pathlib
from index_builder.work_folder import WorkFolder
with WorkFolder(pathlib.Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A work folder in which another process works."""
    work = tmp_path / "held"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(work)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        yield work
        holder.kill()


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "d.xml", *(article(number, 6) for number in range(40)))


def verb(name: str, work: Path, *flags: str) -> int:
    return main(["--quiet", name, "--work", str(work), *flags])


def test_a_folder_in_which_another_process_works_is_refused(
    held: Path, dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--source", str(dump), "--encoder", "sample", "--out", str(tmp_path / "out")]
    assert verb("passages", held, *flags[:2]) == 2
    assert verb("embed", held, *flags[2:4]) == 2
    assert verb("train", held, *flags[4:]) == 2
    assert verb("build", held, *flags) == 2
    assert capsys.readouterr().err.count(f"another process works in {held}; wait for it, or name another") == 4


def test_a_process_that_ended_has_let_go(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "w")
    for _ in range(2):
        with work.locked(), pytest.raises(WorkFolderError, match="another process works"), work.locked():
            pytest.fail("locked twice")
    with work.locked():
        work.remove()
    with work.locked():
        assert work.path.is_dir()


def test_drafts_of_a_killed_run_are_deleted_in_both_folders(tmp_path: Path, dump: Path) -> None:
    out = tmp_path / "out"
    for draft in (out / ".knn.index.draft-1", out / ".work" / "vectors" / ".000000.npy.draft-1"):
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"half")
    build(BuildPlan(source=str(dump), encoder="sample", workers=Workers(1)), out, WorkFolder(out / ".work"), QUIET)
    assert [path.name for path in out.rglob("*") if "draft" in path.name] == []


def test_shards_that_were_lost_are_noticed_before_training(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "w"
    assert verb("passages", work, "--source", str(dump), "--shard-passages", "32") == 0
    assert verb("embed", work, "--encoder", "sample", "--workers", "1") == 0
    first, *_, last = WorkFolder(work).vector_shards()
    whole = np.load(first)
    np.save(first, whole[:-1])
    assert verb("train", work, "--out", str(tmp_path / "out")) == 2
    assert "some were lost or changed" in capsys.readouterr().err
    np.save(first, whole)
    last.unlink()
    WorkFolder(work).passage_shards()[-1].unlink()
    assert verb("train", work, "--out", str(tmp_path / "out")) == 2
    assert "counted 240 passages, its shards hold 192 and 192 vectors" in capsys.readouterr().err


def test_another_version_of_the_parser_builds_anew(
    tmp_path: Path, dump: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "out", tmp_path / "w"
    plan = BuildPlan(source=str(dump), encoder="sample", workers=Workers(1))
    first = build(plan, out, WorkFolder(out / ".work"), QUIET)
    assert build(plan, out, WorkFolder(out / ".work"), QUIET) == first
    assert verb("passages", work, "--source", str(dump)) == 0
    monkeypatch.setattr("index_builder.build.parser_version", lambda: "another")
    assert build(plan, out, WorkFolder(out / ".work"), QUIET).fingerprint != first.fingerprint
    assert verb("passages", work, "--source", str(dump)) == 2
    assert "was begun with parser" in capsys.readouterr().err


def test_a_kill_before_a_stage_is_marked_counts_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02d}.txt").write_text("One sentence. Two sentences. Three of them.")
    (folder / "99.txt").write_text("?!")
    (folder / "picture.png").write_bytes(b"")
    source = open_source(str(folder))

    def cut(work: WorkFolder) -> PassageTotals:
        return write_passages(source, PassageRequest(str(folder), shard_passages=8), work, Workers(1), QUIET)

    work = WorkFolder(tmp_path / "w")
    whole = cut(work)
    assert whole.skipped == {"file of another kind (.png)": 1, "no prose": 1}
    for kept in (6, 3, 2, 1, 0):
        (work.path / "passages.done.json").unlink()
        for shard in work.passage_shards()[kept:]:
            shard.unlink()
        assert cut(work) == whole
