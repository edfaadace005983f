"""An encoder with low-rank changes to its weights and a direction in its vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.shared import Encoders
from server.retrieval.encoder.source import SAMPLE
from server.retrieval.encoder.text_classifier import (
    DIRECTION,
    DOWN,
    MADE_FOR,
    OFFSET,
    UP,
    TextClassifier,
    digest,
    num_changed_bytes,
)
from server.retrieval.retriever import RetrievalError

MATRIX = "encoder.layer.5.output.dense.weight"
TEXTS = ["a fox", "The harbour was closed for three days because of the ice.", ""]


def write(path: Path, made_for: str, changes: dict[str, torch.Tensor]) -> Path:
    head = {DIRECTION: torch.linspace(-1, 1, 384), OFFSET: torch.tensor([0.25])}
    save_file({**head, **changes}, path, {MADE_FOR: made_for})
    return path


def test_log_odds_are_those_of_the_encoder_with_the_product_added_to_its_matrix(tmp_path: Path) -> None:
    encoder = Encoder(SAMPLE, device="cpu")
    torch.manual_seed(3)
    down, up = torch.randn(2, 1536), torch.randn(384, 2) * 0.05
    changes = {MATRIX + DOWN: down, MATRIX + UP: up}
    classifier = TextClassifier(encoder, write(tmp_path / "w.safetensors", digest(encoder.network), changes))
    unchanged = encoder.encode(TEXTS, role="plain")
    with torch.no_grad():
        dict(encoder.network.named_parameters())[MATRIX] += up @ down
    vectors = encoder.encode(TEXTS, role="plain")
    assert np.abs(vectors - unchanged).max() > 0.01
    expected = vectors @ np.linspace(-1, 1, 384) + 0.25
    np.testing.assert_allclose(classifier.log_odds(TEXTS), expected, atol=1e-4)


def test_what_was_made_for_another_encoder_or_is_no_such_file_is_refused(tmp_path: Path) -> None:
    encoder = Encoder(SAMPLE, device="cpu")
    with pytest.raises(RetrievalError, match=r"made for the encoder 0a0b0c, this one is [0-9a-f]{12}"):
        TextClassifier(encoder, write(tmp_path / "other.safetensors", "0a0b0c", {}))
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    for name in ("bad.safetensors", "absent.safetensors"):
        with pytest.raises(RetrievalError, match=name):
            TextClassifier(encoder, tmp_path / name)


def test_what_is_taught_to_one_changes_nothing_for_who_searches_with_it(tmp_path: Path) -> None:
    encoders = Encoders()
    encoder = encoders.open(SAMPLE, "cpu")
    before = encoder.encode(TEXTS)
    changes = {MATRIX + DOWN: torch.ones(1, 1536), MATRIX + UP: torch.ones(384, 1)}
    weights = write(tmp_path / "w.safetensors", digest(encoder.network), changes)
    TextClassifier(encoder, weights)
    assert num_changed_bytes(weights) == 4 * 384 * 1536
    assert encoders.open(SAMPLE, "cpu") is encoder
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)
    twin = encoder.twin()
    assert next(twin.network.parameters()) is next(encoder.network.parameters())
    assert twin.network is not encoder.network
    assert twin.tokenizer is not encoder.tokenizer
