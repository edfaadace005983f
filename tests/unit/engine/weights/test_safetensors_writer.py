from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from server.engine.weights.safetensors_writer import SafetensorsWriter, TensorSpec

SPECS = [
    TensorSpec("a", (3, 5), torch.float32),
    TensorSpec("b", (7,), torch.bfloat16),
    TensorSpec("c", (2, 2, 2), torch.float16),
]


def test_what_is_written_is_what_safetensors_reads(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    tensors = {spec.name: torch.randn(spec.shape, generator=generator).to(spec.dtype) for spec in SPECS}
    tensors["a"] = torch.randn(5, 3, generator=generator).T  # not contiguous
    path = tmp_path / "one.safetensors"
    with SafetensorsWriter(path, SPECS) as writer:
        for spec in SPECS:
            writer.add(tensors[spec.name])
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    assert writer.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def write_and_be_interrupted(path: Path) -> None:
    with SafetensorsWriter(path, SPECS) as writer:
        writer.add(torch.zeros(3, 5))
        raise KeyboardInterrupt


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_be_interrupted(tmp_path / "one.safetensors")
    assert list(tmp_path.iterdir()) == []
