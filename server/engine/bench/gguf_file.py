"""A GPT-NeoX checkpoint as a GGUF file, so that llama.cpp can be timed with the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ENDS = {
    "gpt_neox.embed_in.weight": "token_embd.weight",
    "gpt_neox.final_layer_norm.weight": "output_norm.weight",
    "gpt_neox.final_layer_norm.bias": "output_norm.bias",
    "embed_out.weight": "output.weight",
    "lm_head.weight": "output.weight",  # as transformers 5 writes it
}
_LEFT_OUT = ("attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq")  # what can be worked out
_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}


def gguf_of(folder: Path) -> Path:
    """The GGUF file of the checkpoint in `folder`, beside it; matrices in bfloat16. Made once and kept.

    Raises:
        ValueError: a model type or a tensor whose names are not known here.
    """
    made = folder / "model-bf16.gguf"
    if not made.is_file():
        config = json.loads((folder / "config.json").read_text("utf-8"))
        if config["model_type"] != "gpt_neox":
            raise ValueError(f"{folder}: only GPT-NeoX is written as GGUF here, found {config['model_type']}")
        part = made.with_suffix(".part")
        _write(part, folder, config)
        part.replace(made)
    return made


def _write(path: Path, folder: Path, config: dict[str, Any]) -> None:
    import gguf
    from safetensors.torch import load_file

    writer = gguf.GGUFWriter(path, "gptneox")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_dimension_count(_rotary(config))
    writer.add_parallel_residual(config["use_parallel_residual"])
    tokens = [f"w{token}" for token in range(config["vocab_size"])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges(["w 0"])
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            _add(writer, name, tensor, config=config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _rotary(config: dict[str, Any]) -> int:
    share = (config.get("rope_parameters") or config).get("partial_rotary_factor") or config.get("rotary_pct", 0.25)
    return int(config["hidden_size"] // config["num_attention_heads"] * share)


def _add(writer: Any, name: str, tensor: Tensor, config: dict[str, Any]) -> None:
    import gguf

    theirs = _their_name(name)
    if theirs is None:
        return
    if "attn_qkv" in theirs:  # ours by heads, theirs all queries, then all keys, then all values
        heads = config["num_attention_heads"]
        tensor = tensor.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
    if tensor.dim() == 1:
        writer.add_tensor(theirs, tensor.float().numpy())
        return
    raw: np.ndarray = tensor.to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
    writer.add_tensor(theirs, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)


def _their_name(name: str) -> str | None:
    """None for what they do not keep. Raises ValueError for what is not known here."""
    if name in _ENDS:
        return _ENDS[name]
    number, _, rest = name.removeprefix("gpt_neox.layers.").partition(".")
    part, _, kind = rest.rpartition(".")
    if part in _PARTS:
        return f"blk.{number}.{_PARTS[part]}.{kind}"
    if rest in _LEFT_OUT:
        return None
    raise ValueError(f"{name}: a tensor that has no name in llama.cpp's GPT-NeoX")
