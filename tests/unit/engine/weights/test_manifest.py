from __future__ import annotations

from pathlib import Path

import pytest

from server.artifacts.folder import sha256_of
from server.config import Settings
from server.engine.rank.start_check import StartCheck
from server.engine.weights.golden import GoldenError
from server.engine.weights.manifest import Manifest, check_file, encode_manifest, read_manifest
from server.engine.weights.sources import WeightsError

FACTS = {
    "source": "them/model",
    "revision": "0123abc",
    "source_sha256": "00",
    "adapters": (),
    "dtype": "float16",
    "tensor_parallel_degree": 2,
}


def write_folder(folder: Path) -> Manifest:
    """A packaged folder with nothing in its tensor files, and no golden data."""
    for name in ("common.safetensors", "rank-0.safetensors", "rank-1.safetensors", "config.json"):
        (folder / name).write_text(name)
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    manifest = Manifest(**FACTS, files=files)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    return manifest


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    written = write_folder(tmp_path)
    assert read_manifest(tmp_path) == written


def test_a_rank_checks_its_own_files_and_the_common_ones(tmp_path: Path) -> None:
    assert write_folder(tmp_path).files_of(1) == ["common.safetensors", "config.json", "rank-1.safetensors"]


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"format": "one"}'])
def test_a_damaged_manifest_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(WeightsError, match=str(tmp_path / "manifest.json")):
        read_manifest(tmp_path)


def test_a_manifest_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(encode_manifest(Manifest(**FACTS, files={}, format=2)))
    with pytest.raises(WeightsError, match="format 2; this program reads 1"):
        read_manifest(tmp_path)


def test_a_flipped_byte_and_a_missing_file_are_named(tmp_path: Path) -> None:
    manifest = write_folder(tmp_path)
    path = tmp_path / "rank-1.safetensors"
    check_file(tmp_path, path.name, manifest.files[path.name])
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{path} is damaged"):
        check_file(tmp_path, path.name, manifest.files[path.name])
    path.unlink()
    with pytest.raises(WeightsError, match=f"{path} is missing"):
        check_file(tmp_path, path.name, manifest.files[path.name])


def test_a_group_that_requires_golden_data_refuses_a_folder_without_it(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(GoldenError, match=f"OCK_GOLDEN=require: OCK_CHAT_MODEL={tmp_path} has no golden data"):
        StartCheck(Settings(chat_model=str(tmp_path), golden="require"))
    StartCheck(Settings(chat_model=str(tmp_path), golden="if_present"))
