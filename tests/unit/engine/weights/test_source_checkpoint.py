from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from server.engine.weights.source_checkpoint import SourceCheckpoint, checkpoint_files
from server.engine.weights.sources import Cut, WeightsError


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(6, 4, generator=generator) for name in ("first", "embed_out.weight", "third")}


def test_bin_files_of_several_parts_give_their_tensors_and_shares(tmp_path: Path) -> None:
    made = tensors()
    torch.save({"first": made["first"]}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({name: made[name] for name in list(made)[1:]}, tmp_path / "pytorch_model-00002-of-00002.bin")
    source = SourceCheckpoint(tmp_path)
    assert torch.equal(source.tensor("first", None), made["first"])
    assert torch.equal(source.tensor("lm_head.weight", Cut(1, 1, 3)), made["embed_out.weight"][:, 1:3])
    assert torch.equal(source.tensor("third", Cut(0, 2, 4)), made["third"][2:4])
    assert source.shape("third") == (6, 4)


def test_of_a_tensor_in_two_bin_files_the_one_counts_that_the_index_names(tmp_path: Path) -> None:
    one, two = (f"pytorch_model-0000{part}-of-00002.bin" for part in (1, 2))
    torch.save({"first": torch.ones(2)}, tmp_path / one)
    torch.save({"first": torch.zeros(2), "third": torch.ones(2)}, tmp_path / two)
    weight_map = {"first": one, "third": two}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert SourceCheckpoint(tmp_path).tensor("first", None).tolist() == [1.0, 1.0]


def test_a_bin_file_of_an_older_torch_is_read(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(SourceCheckpoint(tmp_path).tensor("first", None), tensors()["first"])


class Harmful:
    """Unpickling it would make a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_code_in_a_bin_file_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"first": Harmful(tmp_path / "was-here")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin: cannot be read without running code"):
        SourceCheckpoint(tmp_path)
    assert not (tmp_path / "was-here").exists()


def test_a_bin_file_of_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"first": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds something else"):
        SourceCheckpoint(tmp_path)


def test_a_folder_without_a_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=str(tmp_path)):
        SourceCheckpoint(tmp_path)


def test_safetensors_go_before_bin_files(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin", "optimizer.bin"):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoint_files(tmp_path)] == ["model.safetensors"]
