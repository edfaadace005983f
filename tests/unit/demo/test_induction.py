"""Copying heads at initialisation."""

from __future__ import annotations

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from container.demo.chat_model import initialise
from container.demo.induction import Strengths, copying_accuracy, set_copying_heads


def untrained(layers: int = 4) -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=1024,
        hidden_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=512,
        rotary_pct=0.25,
        tie_word_embeddings=True,
    )
    model = GPTNeoXForCausalLM(config).eval()
    initialise(model)
    return model


def test_a_model_with_copying_heads_repeats_random_tokens_before_any_training() -> None:
    model = untrained()
    before = copying_accuracy(model)
    set_copying_heads(model, [10, 11], Strengths(), seed=1)
    assert before < 0.02
    assert copying_accuracy(model) > 0.4


def test_too_small_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="2 layers of 4 heads"):
        set_copying_heads(untrained(layers=2), [10], Strengths(), seed=1)
