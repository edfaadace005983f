"""An index brought up to date: what is kept keeps its vectors, what is forgotten is in no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index_builder import build as build_module
from index_builder.__main__ import main
from index_builder.build import BuildPlan, RecallDemand, build
from index_builder.existing import update as updating
from index_builder.existing.update import Change, UpdatePlan, update_index
from index_builder.passages import batch
from index_builder.processes import OVER_TIME, Budget, Call, LimitError, Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.passage_table import PassageRow, PassageTable
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.index.terms import TermReader

QUIET = Progress(quiet=True)
TEXTS = {
    "owls.md": "---\ngroups: [birds]\n---\n# Owls\n\nOwls hunt at night. They eat mice. Their ears are good.",
    "mice.md": "# Mice\n\nMice fear owls. They eat grain. They live in fields.",
    "secret.md": "# Zyzzyva\n\nThe password is xylophone. Nobody may know it. It is kept by Quixote.",
    "trees.md": "# Trees\n\nTrees grow slowly. Owls nest in them. Their wood is hard.",
}
Built = Callable[..., Path]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def index(docs: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    made = build(plan(docs), out, WorkFolder(out / ".work"), QUIET)
    assert made.passages.num_documents == 4
    return out


def plan(docs: Path) -> BuildPlan:
    return BuildPlan(source=str(docs), encoder="sample", workers=Workers(1), precision="float32")


def updated(index: Path, **wanted: object) -> tuple[Manifest, Change]:
    request = UpdatePlan(workers=Workers(1), **wanted)  # type: ignore[arg-type]
    return update_index(request, index, WorkFolder(index / ".work"), QUIET)


def rows(index: Path) -> list[PassageRow]:
    table = PassageTable(index / "passages.arrow")
    found = [table.row(number) for number in range(len(table))]
    table.close()
    return found


def texts(index: Path) -> dict[str, str]:
    return {row.document_id: row.text for row in rows(index)}


def vectors(index: Path) -> dict[str, np.ndarray]:
    stored = StoredVectors(index / VECTORS_FILE)
    return {row.passage_id: stored.rows(np.array([number]))[0] for number, row in enumerate(rows(index))}


def words_in_files(index: Path, *words: str) -> list[str]:
    return [
        f"{word} in {path}"
        for path in index.parent.rglob("*")
        if path.is_file() and path.parent.name != "docs"
        for word in words
        if word.lower().encode() in path.read_bytes().lower()
    ]


def test_a_forgotten_document_is_in_no_file(index: Path) -> None:
    before = vectors(index)
    assert words_in_files(index, "xylophone", "zyzzyva")
    manifest, change = updated(index, forget=("secret.md",))
    assert words_in_files(index, "xylophone", "zyzzyva", "quixote", "secret.md") == []
    assert change == Change(num_kept=3, num_new=0, num_forgotten=1, num_encoded=0)
    assert (manifest.passages.num_documents, manifest.passages.num_passages) == (3, 3)
    after = vectors(index)
    assert set(after) == set(before) - {"secret.md:0"}
    assert all((after[name] == before[name]).all() for name in after)
    assert sorted(path.name for path in index.parent.iterdir()) == ["docs", "out"]
    assert not (index / ".work").exists()


@pytest.fixture
def large_index(docs: Path, tmp_path: Path) -> Path:
    """Of 104 passages, of which five are few."""
    for number in range(100):
        (docs / f"note{number}.md").write_text(f"# Note {number}\n\nThe number of this note is {number}.")
    out = tmp_path / "out"
    build(plan(docs), out, WorkFolder(out / ".work"), QUIET)
    return out


def test_few_changes_keep_what_was_measured_and_need_no_encoder(
    large_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_manifest(large_index)
    monkeypatch.setattr(build_module, "Encoder", lambda *_, **__: pytest.fail("an encoder is loaded"))
    manifest, _ = updated(large_index, forget=("secret.md",))
    assert words_in_files(large_index, "xylophone", "zyzzyva", "quixote", "secret.md") == []
    assert manifest.passages.num_passages == 103
    assert manifest.index.changed_rows == 1
    assert (manifest.index.recall, manifest.score_floor) == (before.index.recall, before.score_floor)
    assert set(manifest.files) == set(before.files)
    again, _ = updated(large_index, forget=("note1.md",))
    assert again.index.changed_rows == 2


def test_many_small_changes_are_measured_anew(large_index: Path) -> None:
    few, _ = updated(large_index, forget=tuple(f"note{number}.md" for number in range(4)))
    assert few.index.changed_rows == 4
    many, _ = updated(large_index, forget=("note4.md", "note5.md"))
    assert many.index.changed_rows == 0
    asked, _ = updated(large_index, forget=("note6.md",), demand=RecallDemand(0.95, _questions(large_index)))
    assert asked.index.recall_queries == "1 questions of q.txt"


def test_a_passage_that_is_replaced_has_changed_once(large_index: Path, tmp_path: Path) -> None:
    (tmp_path / "docs" / "note1.md").write_text("# Note 1\n\nAnother number is on this note.")
    manifest, change = updated(large_index, source=str(tmp_path / "docs"))
    assert (change.num_new, change.num_forgotten, manifest.index.changed_rows) == (1, 1, 1)


def _questions(index: Path) -> Path:
    path = index.parent / "docs" / "q.txt"
    path.write_text("Where do owls nest?\n")
    return path


def test_the_words_of_a_forgotten_document_are_in_no_list_of_words(index: Path) -> None:
    wanted = TermReader("en").terms("Zyzzyva password xylophone Quixote")
    assert set(wanted) <= terms_in_files(index)
    updated(index, forget=("secret.md",))
    assert set(wanted) & terms_in_files(index) == set()
    assert len(vectors(index)) == 3


def terms_in_files(index: Path) -> set[int]:
    """Every number of the lexical files, which keep words as numbers."""
    arrays = [np.load(path) for path in index.glob("*.npy") if path.name != VECTORS_FILE]
    return {int(number) for array in arrays for number in array.ravel()}


def test_a_source_is_followed_and_only_what_changed_is_encoded(docs: Path, index: Path, tmp_path: Path) -> None:
    (docs / "mice.md").write_text(TEXTS["mice.md"].replace("grain", "cheese"))
    (docs / "secret.md").unlink()
    (docs / "rivers.md").write_text("# Rivers\n\nRivers flow to the sea. They carve valleys. Fish live in them.")
    (docs / "trees.md").rename(docs / "wood.md")
    manifest, change = updated(index, source=str(docs))
    assert change == Change(num_kept=1, num_new=3, num_forgotten=3, num_encoded=2), "a renamed file keeps its vectors"
    whole = build(plan(docs), tmp_path / "whole", WorkFolder(tmp_path / "w"), QUIET)
    assert texts(index) == texts(tmp_path / "whole")
    anew, mine = vectors(tmp_path / "whole"), vectors(index)
    assert all(float(mine[name] @ anew[name]) > 0.999 for name in anew)
    assert manifest.passages == whole.passages
    assert manifest.fingerprint == build(plan(docs), index, WorkFolder(index / ".work"), QUIET).fingerprint


def test_documents_that_fail_are_tried_by_no_update_and_forgotten_with_the_others(
    docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def watched(call: Call[object], budget: Budget) -> object:
        name = call.argument[2].name  # type: ignore[index]
        tried.append(name)
        if name == "bad.html":
            raise LimitError(OVER_TIME, "as it is")
        return call.function(call.argument)

    monkeypatch.setattr(batch, "watched", watched)
    (docs / "bad.html").write_text("<p>Endless.")
    for _ in range(2):
        manifest, change = updated(index, source=str(docs))
        assert change.num_kept == 4
        assert manifest.passages.skipped == {OVER_TIME: 1}
    assert tried == ["bad.html"]
    assert "quarantine.jsonl" in read_manifest(index).files
    updated(index, forget=("mice.md",))
    assert (index / "quarantine.jsonl").exists()
    (docs / "bad.html").unlink()
    updated(index, source=str(docs))
    assert not (index / "quarantine.jsonl").exists()


def test_documents_are_added_and_replaced_beside_what_is_there(index: Path, tmp_path: Path) -> None:
    more = tmp_path / "docs2"
    more.mkdir()
    (more / "mice.md").write_text("# Mice\n\nMice are small.")
    (more / "rivers.md").write_text("# Rivers\n\nRivers flow.")
    _, change = updated(index, add=str(more))
    assert (change.num_kept, change.num_new, change.num_forgotten) == (3, 2, 1)
    assert texts(index)["mice.md"] == "Mice are small."
    assert len(texts(index)) == 5


def test_what_is_known_of_a_document_is_in_the_table(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--index", str(index)]) == 0
    assert "  field groups: 'birds' (1)\n" in capsys.readouterr().out
    assert {row.document_id: row.fields for row in rows(index) if row.fields} == {"owls.md": '{"groups": ["birds"]}'}


def test_nothing_new_changes_nothing(docs: Path, index: Path) -> None:
    before = vectors(index)
    _, change = updated(index, source=str(docs))
    assert change == Change(num_kept=4, num_new=0, num_forgotten=0, num_encoded=0)
    assert all((vectors(index)[name] == before[name]).all() for name in before)


def test_another_parser_reads_all_anew_and_keeps_the_vectors_of_equal_texts(
    docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "_is_cut_alike", lambda _: False)
    _, change = updated(index, source=str(docs))
    assert change == Change(num_kept=0, num_new=4, num_forgotten=4, num_encoded=0)


def test_an_inverted_file_is_filled_anew_with_what_it_was_trained_to(tmp_path: Path) -> None:
    lines = [
        f'{{"id": "{n}", "text": "Number {n} is {n * 7919 % 1009} and its name is word{n}."}}' for n in range(1200)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out"
    wanted = BuildPlan(
        source=str(tmp_path / "t.jsonl"), encoder="sample", index="ivfpq", workers=Workers(1), demand=RecallDemand(0.5)
    )
    first = build(wanted, out, WorkFolder(out / ".work"), QUIET)
    assert first.index.kind == "ivfpq"
    manifest, change = updated(out, forget=("7", "800"), demand=RecallDemand(0.5))
    assert (manifest.index.factory, change.num_kept, manifest.passages.num_passages) == (
        first.index.factory,
        1198,
        1198,
    )
    assert manifest.index.recall["recall@10"] >= first.index.recall["recall@10"] - 0.02
    assert [word for word in words_in_files(out, "word800.", "word7.") if "t.jsonl" not in word] == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--forget", "no.md"], "has no document 'no.md'"),
        (["--forget", *TEXTS], "would hold no passage"),
        ([], "nothing to do"),
        (["--forget", "owls.md", "--encoder", "/nowhere"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_told(
    index: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    before = read_manifest(index)
    assert main(["--quiet", "update", "--index", str(index), *flags]) == 2
    assert told in capsys.readouterr().err
    assert read_manifest(index) == before
