"""The files that count are those that the checkpoint's index names; what is missing or no weights is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from server.engine.weights.checkpoint_files import CheckpointError, weight_files
from server.engine.weights.sources import PlainCheckpoint, WeightsError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"


def tensors(path: Path, **values: float) -> Path:
    save_file({name: torch.full((2, 2), value) for name, value in values.items()}, path)
    return path


def index(folder: Path, weight_map: dict[str, str], name: str = "model.safetensors.index.json") -> None:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_a_file_that_the_index_does_not_name_is_left_aside_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = tensors(tmp_path / "model-00001-of-00002.safetensors", a=1.0)
    two = tensors(tmp_path / "model-00002-of-00002.safetensors", b=2.0)
    stray = tensors(tmp_path / "model.safetensors", a=0.0, b=0.0)
    index(tmp_path, {"a": one.name, "b": two.name})
    assert weight_files(tmp_path).paths == (one, two)
    assert weight_files(tmp_path).left_aside == (stray,)
    source = PlainCheckpoint(tmp_path)
    assert [source.tensor(name, None)[0, 0].item() for name in "ab"] == [1.0, 2.0]
    assert f"left_aside file={stray}" in caplog.text


def test_one_whole_file_counts_before_others_of_other_names(tmp_path: Path) -> None:
    whole = tensors(tmp_path / "model.safetensors", a=1.0)
    tensors(tmp_path / "consolidated.safetensors", a=0.0)
    tensors(tmp_path / "model-00001-of-00002.safetensors", a=0.0)
    assert weight_files(tmp_path).paths == (whole,)


def test_of_a_tensor_in_two_files_the_one_counts_that_the_index_names(tmp_path: Path) -> None:
    one = tensors(tmp_path / "model-00001-of-00002.safetensors", a=1.0)
    two = tensors(tmp_path / "model-00002-of-00002.safetensors", a=0.0, b=2.0, moved=3.0)
    index(tmp_path, {"a": one.name, "b": two.name, "moved": one.name, "absent": two.name})
    source = PlainCheckpoint(tmp_path)
    assert [source.tensor(name, None)[0, 0].item() for name in ("a", "b", "moved")] == [1.0, 2.0, 3.0]
    assert source.names == {"a", "b", "moved"}


@pytest.mark.parametrize("names", [("weights", "old"), ("model-00001-of-00002", "model-00002-of-00002")])
def test_a_tensor_in_two_files_without_an_index_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        tensors(tmp_path / f"{name}.safetensors", a=1.0)
    with pytest.raises(WeightsError, match=r"tensor 'a' is in .* and in .*, and no index says which counts"):
        PlainCheckpoint(tmp_path)


def test_of_two_indices_the_usual_one_counts(tmp_path: Path) -> None:
    whole = tensors(tmp_path / "model-00001-of-00001.safetensors", a=1.0)
    other = tensors(tmp_path / "consolidated.safetensors", b=0.0)
    index(tmp_path, {"a": whole.name})
    index(tmp_path, {"b": other.name}, "consolidated.safetensors.index.json")
    assert weight_files(tmp_path).paths == (whole,)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_weights_that_need_a_scale_are_refused_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"a": torch.ones(2, 2).to(dtype)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"tensor 'a' holds .*: quantised weights of this kind are not read"):
        PlainCheckpoint(tmp_path).tensor("a", None)


def test_links_are_files_and_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    blob = tensors(tmp_path / "blobs" / "abc", a=1.0)
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert PlainCheckpoint(tmp_path).names == {"a"}
    blob.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors: this is no file, or a link to none"):
        weight_files(tmp_path)


def test_an_adapter_is_never_the_model(tmp_path: Path) -> None:
    tensors(tmp_path / "adapter_model.safetensors", a=1.0)
    with pytest.raises(CheckpointError, match=r"only an adapter.*--adapter"):
        weight_files(tmp_path)
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    torch.save({}, tmp_path / "training_args.bin")
    found = weight_files(tmp_path)
    assert (found.pickled, [path.name for path in found.paths]) == (True, ["pytorch_model.bin"])


@pytest.mark.parametrize("indexed", [True, False])
def test_a_missing_shard_is_named(tmp_path: Path, indexed: bool) -> None:
    one = tensors(tmp_path / "model-00001-of-00003.safetensors", a=1.0)
    three = tensors(tmp_path / "model-00003-of-00003.safetensors", c=1.0)
    if indexed:
        index(tmp_path, {"a": one.name, "b": "model-00002-of-00003.safetensors", "c": three.name})
    said = "model-00002-of-00003.safetensors is missing" if indexed else "2 shards are there, their names say 3"
    with pytest.raises(CheckpointError, match=said):
        weight_files(tmp_path)
    with pytest.raises(WeightsError, match=said):
        PlainCheckpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model-00001-of-00001.safetensors"])
def test_a_git_lfs_pointer_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name}: this is a git-lfs pointer.*git lfs pull"):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"weight_map": {}}', "nonsense", POINTER, '{"weight_map": {"a": "../x"}}']
)
def test_an_index_that_names_nothing_useful_is_refused(tmp_path: Path, content: str) -> None:
    tensors(tmp_path / "model.safetensors", a=1.0)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError):
        weight_files(tmp_path)


def test_an_empty_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither"):
        weight_files(tmp_path)
