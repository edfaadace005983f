"""Weights that are not finite numbers do not come as far as a question."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from server.engine.parallel.group import Rank
from server.engine.weights.load import load_model
from server.engine.weights.sources import WeightsError
from tests.process.engine.small_models import make

RANK = Rank(0, 1, torch.device("cpu"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["gpt_neox.embed_in.weight", "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"])
def test_a_weight_that_is_not_finite_is_refused_by_name(tmp_path: Path, name: str, value: float) -> None:
    make("neox", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[name].view(-1)[-3] = value
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(WeightsError, match=f"{name}.* has 1 of [0-9]+ values that are not finite"):
            load_model(tmp_path, RANK, dtype)
