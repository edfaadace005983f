"""What a decoder family is: modules, norms, feed-forward part, rotary form, fields. No torch: `plan` reads it too.

A family stands here once all paths were compared with transformers' own forward pass (tests/unit/engine/model/
test_runner.py, tests/process/engine/test_equality.py). Others run on the torch path if the start check proves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Flag = bool | str  # or the field of config.json that says so


@dataclass(frozen=True)
class Family:
    """Names of modules are paths, of the model or of one of its layers; names of fields are config.json's."""

    model_type: str
    # The model.
    embedding: str
    layers: str
    norm: str
    rotary: str | None  # the module with the frequencies; None: each attention keeps a table
    # One layer.
    query_key_value: tuple[str, ...]  # one module that has each head's three beside each other, or three modules
    dense: str  # the output of attention
    up: str
    down: str
    first_norm: str
    second_norm: str | None  # None: attention and feed-forward part read the same
    gate: str | None = None  # its activation multiplies what `up` gives (Shazeer 2020)
    rms: bool = False  # norms by the root mean square alone (Zhang and Sennrich 2019)
    parallel: Flag = False  # both parts add to the same residual
    interleaved: bool = False  # rotation turns neighbours, not halves
    attend: str | None = None  # the method that attends, where attention does not ask transformers' registry
    # Fields.
    depth: str = "num_hidden_layers"
    width: str = "hidden_size"
    activation: str = "hidden_act"
    epsilon: str = "rms_norm_eps"
    inner: str = "intermediate_size"  # absent: four times the width
    window: str = "max_position_embeddings"
    default_window: int = 2048
    sliding: Mapping[str, object] | None = None  # the fields of a sliding window with their values where absent
    # Biases.
    query_key_value_bias: Flag = False
    dense_bias: Flag = False
    mlp_bias: Flag = False
    norm_bias: bool = False
    head_bias: bool = False

    def is_set(self, flag: Flag, config: Any) -> bool:
        """Whether `flag` holds for a model with this configuration."""
        return bool(field_of(config, flag)) if isinstance(flag, str) else flag


NEOX = Family(
    "gpt_neox",
    embedding="gpt_neox.embed_in",
    layers="gpt_neox.layers",
    norm="gpt_neox.final_layer_norm",
    rotary="gpt_neox.rotary_emb",
    query_key_value=("attention.query_key_value",),
    dense="attention.dense",
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    first_norm="input_layernorm",
    second_norm="post_attention_layernorm",
    parallel="use_parallel_residual",
    epsilon="layer_norm_eps",
    query_key_value_bias=True,
    dense_bias=True,
    mlp_bias=True,
    norm_bias=True,
)
GPTJ = Family(
    "gptj",
    embedding="transformer.wte",
    layers="transformer.h",
    norm="transformer.ln_f",
    rotary=None,
    query_key_value=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    dense="attn.out_proj",
    up="mlp.fc_in",
    down="mlp.fc_out",
    first_norm="ln_1",
    second_norm=None,
    parallel=True,
    interleaved=True,
    attend="_attn",
    depth="n_layer",
    width="n_embd",
    activation="activation_function",
    epsilon="layer_norm_epsilon",
    inner="n_inner",
    window="n_positions",
    mlp_bias=True,
    norm_bias=True,
    head_bias=True,
)


def _llama(model_type: str, **differences: Any) -> Family:
    return Family(
        model_type,
        embedding="model.embed_tokens",
        layers="model.layers",
        norm="model.norm",
        rotary="model.rotary_emb",
        query_key_value=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        dense="self_attn.o_proj",
        gate="mlp.gate_proj",
        up="mlp.up_proj",
        down="mlp.down_proj",
        first_norm="input_layernorm",
        second_norm="post_attention_layernorm",
        rms=True,
        **differences,
    )


LLAMA = _llama(
    "llama", query_key_value_bias="attention_bias", dense_bias="attention_bias", mlp_bias="mlp_bias"
)  # and Alpaca, Vicuna, GPT4All-13B, SmolLM2, Llama-2-7B-32K
MISTRAL = _llama("mistral", sliding={"sliding_window": 4096}, default_window=131072)
QWEN2 = _llama(
    "qwen2",
    query_key_value_bias=True,
    sliding={"use_sliding_window": False, "sliding_window": 4096},
    default_window=32768,
)

FAMILIES: Mapping[str, Family] = {each.model_type: each for each in (NEOX, GPTJ, LLAMA, MISTRAL, QWEN2)}

# What checkpoints and adapters may call a module that transformers names otherwise since its version 5.
FORMER_NAMES: Mapping[str, str] = {"lm_head": "embed_out"}


def family_of(config: Any) -> Family | None:
    """The family of config.json, a mapping or transformers' object of it; None when it is none of ours."""
    return FAMILIES.get(str(field_of(config, "model_type")))


def field_of(config: Any, name: str, absent: Any = None) -> Any:
    """The field `name`, or `absent` when config.json has none."""
    return config.get(name, absent) if isinstance(config, Mapping) else getattr(config, name, absent)


def window_of(config: Any) -> int:
    """Positions that a sequence may use: within a sliding window attention is what it is without one.

    Raises:
        ValueError: config.json gives no window; names the field.
    """
    family = family_of(config)
    name = family.window if family else "max_position_embeddings"
    positions = field_of(config, name) or (family and family.default_window)
    if not positions:
        raise ValueError(name)
    sliding = _sliding_window(family, config)
    return min(int(positions), sliding) if sliding else int(positions)


def _sliding_window(family: Family | None, config: Any) -> int | None:
    if family is None or family.sliding is None:
        return None
    fields = {name: field_of(config, name, absent) for name, absent in family.sliding.items()}
    return int(fields["sliding_window"] or 0) if all(fields.values()) else None


def rotary_fault(config: Any) -> str | None:
    """Why the angles of a token's rotation depend on more than its position; None when they do not.

    Dynamic scaling begins behind the window; what is left is LongRoPE, which changes all angles with the longest
    sequence of a batch.
    """
    kinds = _rotary_kinds(field_of(config, "rope_parameters") or field_of(config, "rope_scaling") or {})
    return "rope_type 'longrope' turns a token by the length of its sequence" if "longrope" in kinds else None


def _rotary_kinds(parameters: Mapping[str, Any]) -> set[str]:
    """Of all layers, or by kind of layer."""
    nested = [each for each in parameters.values() if isinstance(each, Mapping)]
    return {str(each.get("rope_type", each.get("type", "default"))) for each in nested or [parameters]}
