"""Small random models whose greedy choices are far from ties, with a tokenizer of one word a token."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

VOCAB_SIZE = 331  # no multiple of anything
WINDOW = 96


# Heads that two ranks do not divide evenly, with and without what its relatives and its scalings add.
LLAMAS = {
    "llama": {"tie_word_embeddings": False, "num_key_value_heads": 3},
    "llama_tied": {
        "tie_word_embeddings": True,
        "num_key_value_heads": 3,
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
    },
    **{
        f"llama_{name}_{'tied' if tied else 'untied'}": {
            "tie_word_embeddings": tied,
            "num_attention_heads": 8,
            "num_key_value_heads": kv_heads,
        }
        for name, kv_heads in (("grouped", 4), ("whole", 8))
        for tied in (True, False)
    },
}


def make(kind: str, folder: Path) -> PreTrainedModel:
    """Write a float32 checkpoint of `kind` (neox, neox_sequential, gptj or one of LLAMAS) to `folder`; the model."""
    torch.manual_seed(7)
    model = _model(kind).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({f"w{token}": token for token in range(VOCAB_SIZE)}, "w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def _model(kind: str) -> PreTrainedModel:
    no_ends = {"bos_token_id": None, "eos_token_id": None, "initializer_range": 0.2}
    if kind in LLAMAS:
        sizes = {"vocab_size": VOCAB_SIZE, "hidden_size": 144, "num_hidden_layers": 3, "num_attention_heads": 9}
        sizes |= {"intermediate_size": 321, "max_position_embeddings": WINDOW}
        return LlamaForCausalLM(LlamaConfig(**(sizes | LLAMAS[kind]), **no_ends))
    if kind == "gptj":
        return GPTJForCausalLM(
            GPTJConfig(
                vocab_size=VOCAB_SIZE, n_positions=WINDOW, n_embd=128, n_layer=3, n_head=8, rotary_dim=8, **no_ends
            )
        )
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=128,
            num_hidden_layers=3,
            num_attention_heads=8,
            intermediate_size=320,
            max_position_embeddings=WINDOW,
            use_parallel_residual=kind == "neox",
            tie_word_embeddings=False,
            **no_ends,
        )
    )


@torch.inference_mode()
def greedy(model: PreTrainedModel, prompt: list[int], new_tokens: int) -> list[int]:
    """What transformers' own `generate` says, unsharded."""
    ids = torch.tensor([prompt])
    out = model.generate(ids, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0, eos_token_id=None)
    return list(out[0, len(prompt) :].tolist())


@torch.inference_mode()
def log_probs(model: PreTrainedModel, context: list[int], candidate: tuple[int, ...]) -> list[float]:
    """Log-probability of each token of `candidate` after `context`."""
    logits = model(torch.tensor([[*context, *candidate]])).logits[0].float().log_softmax(-1)
    return [float(logits[len(context) + index - 1, token]) for index, token in enumerate(candidate)]
