"""OCK_INDEX may name one version of an index or the folder that holds several."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from server.artifacts.folder import MANIFEST
from server.retrieval.index.files import local_index
from server.retrieval.index.manifest import encode_manifest, read_manifest
from server.retrieval.retriever import RetrievalError


def add_version(root: Path, name: str, index_folder: Path, created: str) -> Path:
    shutil.copytree(index_folder, root / name)
    manifest = msgspec.structs.replace(read_manifest(index_folder), created=created, version=name)
    (root / name / MANIFEST).write_bytes(encode_manifest(manifest))
    return root / name


def test_a_folder_with_a_manifest_is_the_index(index_folder: Path, tmp_path: Path) -> None:
    assert local_index(str(index_folder), tmp_path) == index_folder


def test_of_several_versions_the_newest_is_taken(index_folder: Path, tmp_path: Path) -> None:
    add_version(tmp_path, "v10", index_folder, "2026-03-01T00:00:00+00:00")
    newest = add_version(tmp_path, "v9", index_folder, "2026-05-01T00:00:00+00:00")
    add_version(tmp_path, "v1", index_folder, "2026-01-01T00:00:00+00:00")
    assert local_index(str(tmp_path), tmp_path / "cache") == newest


def test_a_half_published_version_is_overlooked(index_folder: Path, tmp_path: Path) -> None:
    whole = add_version(tmp_path, "v1", index_folder, "2026-01-01T00:00:00+00:00")
    half = add_version(tmp_path, "v2", index_folder, "2026-05-01T00:00:00+00:00")
    (half / MANIFEST).unlink()
    assert local_index(str(tmp_path), tmp_path / "cache") == whole


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_an_index_is_refused(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "none"
    if make:
        (folder / "empty").mkdir(parents=True)
    with pytest.raises(RetrievalError, match=r"no such folder|no complete index"):
        local_index(str(folder), tmp_path)


def test_a_manifest_of_another_format_is_refused(index_folder: Path, tmp_path: Path) -> None:
    folder = add_version(tmp_path, "v1", index_folder, "2026-01-01T00:00:00+00:00")
    manifest = msgspec.structs.replace(read_manifest(folder), format="openchatkit-index/9")
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))
    with pytest.raises(RetrievalError, match="format 'openchatkit-index/9'; this program reads"):
        read_manifest(folder)
