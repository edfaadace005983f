from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import SAMPLE, encoder_path
from server.retrieval.retriever import RetrievalError


def test_an_encoder_is_loaded_from_safetensors_and_never_from_a_pickle(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder_path(SAMPLE), tmp_path / "encoder"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    assert Encoder(str(folder)).encode(["a fox"]).shape == (1, 384)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RetrievalError, match=r"cannot be loaded: .*no weights in safetensors files"):
        Encoder(str(folder))
