"""A GGUF file becomes a checkpoint that says what the model in it says, or is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from server.engine.package.gguf import convert_gguf, is_gguf
from server.engine.weights.sources import WeightsError
from tests.unit.engine.tiny_models import prompt_of, reference, relative_error

WORDS = ["<|endoftext|>", "<|im_end|>", *(chr(code) for code in range(33, 127)), "Ġ", "he", "Ġhe", "12"]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(3)
    sizes = {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 128}
    config = LlamaConfig(
        vocab_size=len(WORDS), num_hidden_layers=2, max_position_embeddings=128, tie_word_embeddings=True,
        initializer_range=0.1, bos_token_id=0, eos_token_id=1, **sizes,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order in which llama.cpp turns neighbours, where transformers turns halves."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(
    path: Path, model: LlamaForCausalLM, *, architecture: str = "llama", scaling: str = "", without: str = ""
) -> None:
    config: Any = model.config
    writer = GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if scaling:
        writer.add_string(f"{architecture}.rope.scaling.type", scaling)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([TokenType.CONTROL] * 2 + [TokenType.NORMAL] * (len(WORDS) - 2))
    writer.add_token_merges(["h e", "Ġ he", "1 2"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    add_tensors(writer, model, without)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensors(writer: GGUFWriter, model: LlamaForCausalLM, without: str = "") -> None:
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", state["model.norm.weight"])
    for index in range(model.config.num_hidden_layers):
        for name, theirs in NAMES.items():
            if theirs == without:
                continue
            weight = state[f"model.layers.{index}.{name}.weight"]
            if theirs in ("attn_q", "attn_k"):
                heads = model.config.num_attention_heads if theirs == "attn_q" else model.config.num_key_value_heads
                weight = interleaved(weight, heads)
            if theirs == "ffn_up":  # one quantised kind among them
                kind = GGMLQuantizationType.Q8_0
                writer.add_tensor(f"blk.{index}.{theirs}.weight", quantize(weight, kind), raw_dtype=kind)
                continue
            writer.add_tensor(f"blk.{index}.{theirs}.weight", weight)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return tiny_llama()


def test_the_checkpoint_says_what_the_model_in_the_file_says(model: LlamaForCausalLM, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", model)
    assert is_gguf(tmp_path / "tiny.gguf")
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out", torch.float32)
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert (read.config.num_key_value_heads, read.config.tie_word_embeddings, read.config.eos_token_id) == (2, True, 1)
    tokens = [token % len(WORDS) for token in prompt_of(40)]
    error = relative_error(reference(read, tokens), reference(model, tokens))
    assert 0 < error < 0.01  # one matrix in seven was rounded to 8 bits


def test_the_tokenizer_splits_digits_and_keeps_its_special_tokens(model: LlamaForCausalLM, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", model)
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out", torch.bfloat16)
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    found = tokenizer.encode("x he 12<|im_end|>", add_special_tokens=False)
    assert found.tokens == ["x", "Ġhe", "Ġ", "1", "2", "<|im_end|>"]
    assert tokenizer.decode(found.ids) == "x he 12"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scaling": "yarn"}, r"rotary frequencies are scaled \(yarn\), which gets lost here"),
        ({"architecture": "starcoder2"}, "tiny.gguf: "),
        ({"without": "ffn_gate"}, r"tensor 'model.layers.0.mlp.gate_proj.weight' \(2 in all\) is missing"),
    ],
)
def test_what_would_be_lost_or_is_not_served_is_refused(
    model: LlamaForCausalLM, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    write_gguf(tmp_path / "tiny.gguf", model, **options)
    with pytest.raises(WeightsError, match=said):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out", torch.float32)


def test_a_file_that_is_something_else_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "cat.gguf").write_bytes(b"meow" * 100)
    with pytest.raises(WeightsError, match=r"cat\.gguf: not a readable GGUF file"):
        convert_gguf(tmp_path / "cat.gguf", tmp_path / "out", torch.float32)
