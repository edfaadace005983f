"""A GPT-NeoX checkpoint written for llama.cpp holds every weight, or is refused."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from server.engine.bench.gguf_file import gguf_of
from tests.unit.engine.tiny_models import make_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model("neox").save_pretrained(tmp_path)
    return tmp_path


def test_every_weight_has_its_place(folder: Path) -> None:
    weights = load_file(next(folder.glob("*.safetensors")))
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(gguf_of(folder)).tensors}
    assert len(tensors) == len(weights)
    head = next(weight for name, weight in weights.items() if name in ("lm_head.weight", "embed_out.weight"))
    written = torch.from_numpy(np.array(tensors["output.weight"].data)).view(torch.bfloat16).view(head.shape)
    assert torch.equal(written, head.to(torch.bfloat16))


def test_a_weight_that_has_no_place_is_named(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    save_file({**load_file(file), "gpt_neox.layers.0.gate.weight": torch.ones(2, 2)}, file)
    with pytest.raises(ValueError, match=r"gpt_neox\.layers\.0\.gate\.weight"):
        gguf_of(folder)
