"""What config.json says and what the files hold are one model, or the checkpoint is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from server.engine.parallel.group import Rank
from server.engine.weights.load import load_model
from server.engine.weights.sources import WeightsError
from tests.process.engine.small_models import make

RANK = Rank(0, 1, torch.device("cpu"))
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def change(folder: Path, edit: Callable[[dict[str, Tensor]], None] | None = None, **fields: object) -> Path:
    """Change the tensors and config.json of the checkpoint in `folder`."""
    tensors = load_file(folder / "model.safetensors")
    if edit is not None:
        edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


@torch.inference_mode()
def logits(model: torch.nn.Module) -> Tensor:
    return model(torch.tensor([[5, 17, 44]])).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["llama", "neox", "gptj"])
def test_a_head_of_its_own_counts_whatever_config_says(kind: str, tmp_path: Path) -> None:
    expected = logits(make(kind, tmp_path))
    loaded = load_model(change(tmp_path, tie_word_embeddings=True), RANK, torch.float32)
    assert torch.allclose(logits(loaded), expected, atol=1e-5)


def test_a_tied_head_is_found_by_either_name(tmp_path: Path) -> None:
    expected = logits(make("llama_tied", tmp_path))
    change(tmp_path, lambda tensors: tensors.update({HEAD: tensors.pop(EMBEDDING)}))
    assert torch.allclose(logits(load_model(tmp_path, RANK, torch.float32)), expected, atol=1e-5)


def test_a_missing_head_that_is_not_said_to_be_tied_is_refused_with_the_way_out(tmp_path: Path) -> None:
    make("llama_tied", tmp_path)
    with pytest.raises(WeightsError, match=r"'lm_head.weight' is missing.*\"tie_word_embeddings\": true"):
        load_model(change(tmp_path, tie_word_embeddings=False), RANK, torch.float32)


def test_one_tensor_under_two_names_is_refused(tmp_path: Path) -> None:
    make("neox", tmp_path)

    def add(tensors: dict[str, Tensor]) -> None:
        tensors |= {"embed_out.weight": torch.zeros(331, 128), "lm_head.weight": torch.ones(331, 128)}

    with pytest.raises(WeightsError, match="are two names of one tensor"):
        load_model(change(tmp_path, add), RANK, torch.float32)


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        ("llama_tied", {"attention_bias": False}, r"self_attn\.[a-z]_proj\.bias"),
        ("llama_tied", {"mlp_bias": False}, r"mlp\.[a-z]+_proj\.bias"),
        ("llama", {"num_hidden_layers": 2}, r"model\.layers\.2\."),
        ("llama", {"num_hidden_layers": 0}, r"model\.layers\.0\."),
    ],
)
def test_tensors_that_the_described_model_has_no_place_for_are_refused(
    kind: str, fields: dict[str, object], named: str, tmp_path: Path
) -> None:
    make(kind, tmp_path)
    with pytest.raises(WeightsError, match=f"{named}.* has no place in the model that config.json describes"):
        load_model(change(tmp_path, **fields), RANK, torch.float32)


def test_norms_that_the_family_does_not_have_are_refused(tmp_path: Path) -> None:
    make("llama", tmp_path)
    change(tmp_path, lambda tensors: tensors.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(16)}))
    with pytest.raises(WeightsError, match=r"q_norm.weight' \(1 in all\) has no place"):
        load_model(tmp_path, RANK, torch.float32)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("neox", "gpt_neox.layers.0.attention.bias"),
        ("neox", "gpt_neox.layers.0.attention.masked_bias"),
        ("neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq"),
        ("gptj", "transformer.h.0.attn.masked_bias"),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("llama", "v_head.summary.weight"),
    ],
)
def test_what_older_checkpoints_and_trainers_leave_behind_changes_nothing(kind: str, name: str, tmp_path: Path) -> None:
    expected = logits(make(kind, tmp_path))
    change(tmp_path, lambda tensors: tensors.update({name: torch.ones(1, 8)}))
    assert torch.allclose(logits(load_model(tmp_path, RANK, torch.float32)), expected, atol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_act": "nonsense"},
        {"rope_parameters": {"rope_type": "nonsense", "rope_theta": 10000.0}},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0}},
        {"num_key_value_heads": 2},
        {"num_hidden_layers": "3"},
        {"rms_norm_eps": "1e-6"},
        {"num_attention_heads": 0},
    ],
)
def test_a_configuration_of_no_model_is_refused_in_one_sentence(fields: dict[str, object], tmp_path: Path) -> None:
    make("llama", tmp_path)
    with pytest.raises(
        WeightsError, match=r"config\.json (describes no model|is missing or not a known model)"
    ) as raised:
        load_model(change(tmp_path, **fields), RANK, torch.float32)
    assert "\n" not in str(raised.value)
