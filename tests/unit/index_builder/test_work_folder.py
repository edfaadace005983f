"""A finished index takes the place of an earlier one at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from index_builder import work_folder
from index_builder.work_folder import install


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return path


def names(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_an_empty_place_gets_the_files_and_its_manifest(tmp_path: Path) -> None:
    result = folder_of(tmp_path / "w" / "result", a_npy="new", manifest_json="{}")
    install(result, tmp_path / "out")
    assert names(tmp_path / "out") == {"a.npy": "new", "manifest.json": "{}"}


@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_earlier_index_is_replaced_and_what_a_person_put_beside_it_stays(
    tmp_path: Path, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder_of(tmp_path / "out", a_npy="old", manifest_json="{old}", notes_txt="mine")
    result = folder_of(out / ".work" / "result", a_npy="new", manifest_json="{new}")
    opened = (out / "a.npy").open()
    if not can_exchange:
        monkeypatch.setattr(work_folder, "_exchange", lambda *_: (_ for _ in ()).throw(OSError("no")))
    install(result, out)
    assert names(out) == {"a.npy": "new", "manifest.json": "{new}", "notes.txt": "mine"}
    assert opened.read() == "old", "whoever has the earlier file open goes on with it"
    assert not (tmp_path / ".out.new").exists()


def test_at_no_moment_is_the_folder_without_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder_of(tmp_path / "out", a_npy="old", manifest_json="{old}")
    result = folder_of(tmp_path / "result", a_npy="new", manifest_json="{new}")
    move = work_folder._move

    def looked_at(source: Path, target: Path) -> None:
        assert (out / "manifest.json").read_text() == "{old}"
        assert (out / "a.npy").read_text() == "old"
        move(source, target)

    monkeypatch.setattr(work_folder, "_move", looked_at)
    install(result, out)
    assert names(out) == {"a.npy": "new", "manifest.json": "{new}"}
