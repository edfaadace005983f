"""A family is served when attention over blocks gives what its own attention gives, and else refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from server.dtypes import DTYPES
from server.engine.model.runner import ModelRunner, PoolShape
from server.engine.weights.sources import WeightsError
from tests.unit.engine.tiny_models import (
    BLOCK_TOKENS,
    VOCAB_SIZE,
    make_model,
    prompt_of,
    reference,
    relative_error,
    step_of,
    whole,
)

WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 32,
}


def model_of(model_type: str, **fields: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](
        vocab_size=VOCAB_SIZE, bos_token_id=None, eos_token_id=None, pad_token_id=None, **fields
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def allocated(model: PreTrainedModel) -> ModelRunner:
    runner = ModelRunner(model, DTYPES["float32"], torch.device("cpu"))
    runner.allocate(PoolShape(16, BLOCK_TOKENS))
    return runner


@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("gpt2", GPT2),
        ("phi", {**WIDE, "intermediate_size": 64}),
        ("stablelm", {**WIDE, "intermediate_size": 64, "num_key_value_heads": 2}),
        ("opt", {**WIDE, "ffn_dim": 64, "word_embed_proj_dim": 32}),  # scales queries itself and asks for a scale of 1
        ("granite", {**WIDE, "intermediate_size": 64, "attention_multiplier": 0.9}),
        ("starcoder2", {**WIDE, "intermediate_size": 64, "num_key_value_heads": 2, "sliding_window": None}),
    ],
)
def test_a_family_whose_attention_is_understood_is_served_right(model_type: str, fields: dict[str, Any]) -> None:
    model, tokens = model_of(model_type, **fields), prompt_of(20)
    expected = reference(model, tokens)[-1:]
    assert relative_error(allocated(model).run(step_of(whole(0, tokens))), expected) < 1e-5


@pytest.mark.parametrize(
    ("model_type", "fields", "said"),
    [
        ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, "0 of its 2 layers have an attention that keys"),
        (
            "gpt_neo",
            {**WIDE, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
            "0 of its 2 layers",
        ),
        ("falcon", {**WIDE, "new_decoder_architecture": False, "multi_query": False, "alibi": False}, ""),
        ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}, ""),
        ("gemma2", {**WIDE, "head_dim": 8, "num_key_value_heads": 4, "sliding_window": 8}, "its attention asks for"),
        ("starcoder2", {**WIDE, "num_key_value_heads": 2, "sliding_window": 8}, "asks for sliding_window=8"),
        ("llama", {**WIDE, "rope_parameters": LONGROPE}, "rope_type 'longrope' turns a token by"),
    ],
)
def test_a_family_that_asks_for_what_is_not_computed_is_refused_by_name(
    model_type: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(WeightsError, match=f"model_type '{model_type}': .*{said}"):
        allocated(model_of(model_type, **fields))


def test_attention_that_silently_does_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.engine.model.attention._registered_attention", lambda module, q, k, v, *_, **__: (
        module.paged(q * 1.5, k, v), None))  # fmt: skip
    with pytest.raises(
        WeightsError, match=r"model_type 'gpt_neox': attention over .* is off by .* from the model's own"
    ):
        allocated(make_model("neox"))


@pytest.mark.parametrize("kind", ["llama_tied", "mistral", "qwen2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_families_of_llamas_kind_give_their_own_logits(kind: str, dtype: str) -> None:
    tokens = prompt_of(60)
    runner = ModelRunner(make_model(kind), DTYPES["float32"], torch.device("cpu"))
    if dtype == "bfloat16":
        narrow = make_model(kind).to(torch.bfloat16)
        narrow.set_submodule("model.rotary_emb", make_model(kind).get_submodule("model.rotary_emb"))
        runner = ModelRunner(narrow, DTYPES[dtype], torch.device("cpu"))
    runner.allocate(PoolShape(64, BLOCK_TOKENS))
    found = runner.run(step_of(whole(0, tokens)))
    assert relative_error(found, reference(make_model(kind), tokens)[-1:]) < {"float32": 1e-5, "bfloat16": 0.02}[dtype]
