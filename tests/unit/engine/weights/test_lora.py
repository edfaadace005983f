from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from server.engine.weights.lora import AdaptedCheckpoint, read_adapter
from server.engine.weights.source_checkpoint import SourceCheckpoint
from server.engine.weights.sources import Cut, WeightsError

LAYER = "gpt_neox.layers.0.attention.query_key_value"


def small_model() -> GPTNeoXForCausalLM:
    torch.manual_seed(3)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=53, hidden_size=32, num_hidden_layers=2, num_attention_heads=8, intermediate_size=64,
            max_position_embeddings=32, tie_word_embeddings=False,
        )
    )  # fmt: skip


def write_adapter(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    """A LoRA of rank 4 on the first attention layer of `small_model`."""
    generator = torch.Generator().manual_seed(4)
    usual = {
        f"base_model.model.{LAYER}.lora_A.weight": torch.randn(4, 32, generator=generator),
        f"base_model.model.{LAYER}.lora_B.weight": torch.randn(96, 4, generator=generator),
    }
    folder.mkdir()
    save_file(usual if tensors is None else tensors, folder / "adapter_model.safetensors")
    described = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "init_lora_weights": True, **config}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"alpha_pattern": {"1.mlp.dense_h_to_4h": 3}}])
def test_a_merged_checkpoint_has_the_tensors_of_peft_s_own_merge(tmp_path: Path, options: dict[str, Any]) -> None:
    model = small_model()
    model.save_pretrained(tmp_path / "base")
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query_key_value", "dense_h_to_4h"], **options)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    merged = AdaptedCheckpoint(SourceCheckpoint(tmp_path / "base"), [read_adapter(tmp_path / "adapter")])
    expected = adapted.merge_and_unload()
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(merged.tensor(name, None), parameter.data, msg=name)


def test_a_share_of_a_merged_tensor_is_that_share_of_the_whole(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path / "base")
    base = SourceCheckpoint(tmp_path / "base")
    adapters = [read_adapter(write_adapter(tmp_path / name, lora_alpha=alpha)) for name, alpha in (("a", 8), ("b", 2))]
    merged = AdaptedCheckpoint(base, adapters)
    whole = merged.tensor(f"{LAYER}.weight", None)
    torch.testing.assert_close(merged.tensor(f"{LAYER}.weight", Cut(0, 24, 48)), whole[24:48])
    torch.testing.assert_close(merged.tensor(f"{LAYER}.weight", Cut(1, 8, 16)), whole[:, 8:16])
    pair = adapters[0][f"{LAYER}.weight"]
    once = pair.left @ pair.right
    torch.testing.assert_close(whole, base.tensor(f"{LAYER}.weight", None) + once + once / 4)


def test_fan_in_fan_out_adds_the_transposed_product(tmp_path: Path) -> None:
    pair = read_adapter(write_adapter(tmp_path / "a", fan_in_fan_out=True))[f"{LAYER}.weight"]
    straight = read_adapter(write_adapter(tmp_path / "b"))[f"{LAYER}.weight"]
    stored = torch.zeros(pair.shape)
    torch.testing.assert_close(pair.add_to(stored, None), straight.add_to(stored.T, None).T)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"modules_to_save": ["embed_in"]}, "modules_to_save="),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"layer_replication": [[0, 2]]}, "layer_replication="),
        ({"some_later_kind": 1}, "some_later_kind=1"),
        ({"lora_alpha": None}, "lora_alpha is None"),
    ],
)
def test_an_adapter_that_is_more_than_plain_lora_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], named: str
) -> None:
    folder = write_adapter(tmp_path / "adapter", **config)
    with pytest.raises(WeightsError) as caught:
        read_adapter(folder)
    assert named in str(caught.value)
    assert str(folder) in str(caught.value)


def test_an_adapter_s_embedding_is_refused_by_name(tmp_path: Path) -> None:
    key = "base_model.model.gpt_neox.embed_in.lora_embedding_A"
    folder = write_adapter(tmp_path / "adapter", {key: torch.zeros(4, 53)})
    with pytest.raises(WeightsError, match="lora_embedding_A"):
        read_adapter(folder)


def test_an_adapter_of_another_size_is_refused_with_both_shapes(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path / "base")
    tensors = {
        f"base_model.model.{LAYER}.lora_A.weight": torch.zeros(4, 16),
        f"base_model.model.{LAYER}.lora_B.weight": torch.zeros(48, 4),
    }
    adapter = read_adapter(write_adapter(tmp_path / "adapter", tensors))
    with pytest.raises(WeightsError, match=r"\(48, 16\).*\(96, 32\)"):
        AdaptedCheckpoint(SourceCheckpoint(tmp_path / "base"), [adapter])


def test_an_adapter_for_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path / "base")
    key = "base_model.model.gpt_neox.layers.9.mlp.dense_h_to_4h.lora_"
    tensors = {f"{key}A.weight": torch.zeros(4, 32), f"{key}B.weight": torch.zeros(64, 4)}
    adapter = read_adapter(write_adapter(tmp_path / "adapter", tensors))
    with pytest.raises(WeightsError, match=r"layers\.9\.mlp"):
        AdaptedCheckpoint(SourceCheckpoint(tmp_path / "base"), [adapter])
