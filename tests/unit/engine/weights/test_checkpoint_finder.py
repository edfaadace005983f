from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.packaging.checkpoint import Checkpoint, CheckpointFinder

COMMIT = "f7b1c3d5e7f90123456789abcdef0123456789ab"


class Hub:
    """Stands for huggingface_hub.snapshot_download: the files that match, in a snapshot named by its commit."""

    def __init__(self, cache: Path, files: list[str]) -> None:
        self._snapshot = cache / COMMIT
        self._files = files
        self.calls: list[dict[str, Any]] = []

    def __call__(self, repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.calls.append({"repo_id": repo_id, "revision": revision})
        self._snapshot.mkdir(parents=True, exist_ok=True)
        for name in self._files:
            if any(fnmatch(name, pattern) for pattern in allow_patterns):
                (self._snapshot / name).touch()
        return str(self._snapshot)

    def fetched(self) -> list[str]:
        return sorted(path.name for path in self._snapshot.iterdir())


def test_a_hub_id_is_downloaded_and_its_commit_recorded(tmp_path: Path) -> None:
    hub = Hub(tmp_path, ["config.json", "tokenizer.json", "a.safetensors", "pytorch_model.bin", "flax.msgpack", "x.py"])
    found = CheckpointFinder(hub).find("--chat", "them/model@main")
    assert found == Checkpoint(tmp_path / COMMIT, "them/model", COMMIT)
    assert hub.calls == [{"repo_id": "them/model", "revision": "main"}]
    assert hub.fetched() == ["a.safetensors", "config.json", "tokenizer.json"]


def test_bin_files_are_downloaded_only_where_there_are_no_safetensors_and_at_the_same_commit(tmp_path: Path) -> None:
    hub = Hub(tmp_path, ["config.json", "pytorch_model-00001-of-00001.bin", "training_args.bin"])
    found = CheckpointFinder(hub).find("--chat", "them/model")
    assert [call["revision"] for call in hub.calls] == [None, COMMIT]
    assert hub.fetched() == ["config.json", "pytorch_model-00001-of-00001.bin"]
    assert found.revision == COMMIT


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert CheckpointFinder(Hub(tmp_path / "hub", [])).find("--chat", str(tmp_path)).folder == tmp_path


def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DeployError, match=r"--moderation \./nowhere/at/all: neither a folder, a .gguf file nor a hub id"
    ):
        CheckpointFinder(Hub(tmp_path, [])).find("--moderation", "./nowhere/at/all")


def test_a_failed_download_names_flag_and_model(tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("no route")

    with pytest.raises(DeployError, match=r"--chat them/model: the download failed.*no route"):
        CheckpointFinder(fail).find("--chat", "them/model")
