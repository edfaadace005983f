"""Tiny random models of every family, with odd sizes, for one process without ranks."""

from __future__ import annotations

from functools import partial

import torch
from transformers import (
    AutoModelForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
)

from server.engine.schedule.step import ModelStep, Segment

BLOCK_TOKENS = 8
VOCAB_SIZE = 203


LLAMA_SIZES = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 144,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 200,
    "max_position_embeddings": 256,
}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LLAMAS = {
    "llama": partial(LlamaConfig, tie_word_embeddings=False, rope_parameters=LLAMA3_SCALING),
    "llama_tied": partial(LlamaConfig, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=40),
    "mistral": partial(MistralConfig, sliding_window=200),
    "qwen2": partial(Qwen2Config, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
}


def make_model(kind: str) -> PreTrainedModel:
    """A model of `kind` (neox, neox_sequential, gptj, or one of LLAMAS) in float32."""
    torch.manual_seed(5)
    common = {"initializer_range": 0.1, "bos_token_id": None, "eos_token_id": None}
    if kind in LLAMAS:
        model = AutoModelForCausalLM.from_config(LLAMAS[kind](**LLAMA_SIZES, **common))
    elif kind == "gptj":
        model = GPTJForCausalLM(
            GPTJConfig(vocab_size=VOCAB_SIZE, n_positions=256, n_embd=80, n_layer=2, n_head=4, rotary_dim=8, **common)
        )
    else:
        model = GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=VOCAB_SIZE,
                hidden_size=144,
                num_hidden_layers=2,
                num_attention_heads=2,  # of 72: no multiple of 16
                intermediate_size=200,
                max_position_embeddings=256,
                hidden_act="gelu" if kind == "neox" else "gelu_fast",
                use_parallel_residual=kind == "neox",
                tie_word_embeddings=False,
                **common,
            )
        )
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def prompt_of(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(1000 * seed + length)
    return torch.randint(VOCAB_SIZE, (length,), generator=generator).tolist()


def blocks_of(sequence: int, num_tokens: int) -> tuple[int, ...]:
    """Blocks of sequence number `sequence`, not in rising order."""
    count = -(-num_tokens // BLOCK_TOKENS)
    return tuple(sequence * 32 + (index * 7) % 32 for index in range(count))


def whole(sequence: int, tokens: list[int], num_logits: int = 1) -> Segment:
    """All of a sequence in one segment."""
    return Segment.of(tuple(tokens), blocks_of(sequence, len(tokens)), 0, num_logits)


def rest(sequence: int, tokens: list[int], start: int, num_logits: int = 1) -> Segment:
    """The tokens from `start` on."""
    return Segment.of(tuple(tokens[start:]), blocks_of(sequence, len(tokens)), start, num_logits)


def step_of(*segments: Segment) -> ModelStep:
    return ModelStep("m", segments)


@torch.inference_mode()
def reference(model: PreTrainedModel, tokens: list[int]) -> torch.Tensor:
    """The model's own logits [num_tokens, vocab], in float32."""
    return model(torch.tensor([tokens])).logits[0].float()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
