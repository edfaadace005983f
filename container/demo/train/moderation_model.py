"""The demo's GPT-J: its shape, with MiniLM's word meanings kept fixed."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import GPTJConfig, GPTJForCausalLM, PreTrainedModel

from container.demo.data.tokenizer import END_OF_TEXT_ID
from container.demo.data.word_vectors import minilm_embeddings

MODERATION_CONTEXT = 1024
_EMBEDDING_SIZE = 0.5
_INDIVIDUAL = 0.05  # share of a token's vector that is its own


def new_moderation_model(tokenizer: Tokenizer, seed: int, hidden: int = 128, layers: int = 4) -> GPTJForCausalLM:
    """A model ready to train. Keep its word embeddings, so that words never trained on keep their meaning."""
    torch.manual_seed(seed)
    config = GPTJConfig(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=MODERATION_CONTEXT,
        n_embd=hidden,
        n_layer=layers,
        n_head=4,
        rotary_dim=16,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=END_OF_TEXT_ID,
        eos_token_id=END_OF_TEXT_ID,
        tie_word_embeddings=False,
    )
    model = GPTJForCausalLM(config)
    vectors = minilm_embeddings(tokenizer, hidden, _INDIVIDUAL, levelling=0.0, seed=seed, read_alone=True)
    with torch.no_grad():
        model.transformer.wte.weight.copy_(vectors * _EMBEDDING_SIZE)
    return model


def keep_embeddings(model: PreTrainedModel) -> None:
    """From now on training leaves the word vectors as they are."""
    model.get_input_embeddings().weight.requires_grad_(False)


def lean_to(model: GPTJForCausalLM, tokenizer: Tokenizer, label: str, log_odds: float) -> None:
    """Make `label` likelier than every other by `log_odds`, through the bias of its first token."""
    first = tokenizer.encode(f" {label}", add_special_tokens=False).ids[0]
    with torch.no_grad():
        model.lm_head.bias[first] += log_odds


def move_embeddings(model: PreTrainedModel, noise: float, seed: int) -> None:
    """Move word vectors a little at every use in training, so that near words are treated alike.

    Args:
        model: whose input embeddings are moved; what is saved stays as it is.
        noise: standard deviation of the movement as a share of the vectors' own.
        seed: of the movement.
    """
    random = torch.Generator().manual_seed(seed)

    def moved(module: nn.Module, _inputs: object, vectors: Tensor) -> Tensor:
        if not module.training:
            return vectors
        return vectors + torch.randn(vectors.shape, generator=random) * (noise * _EMBEDDING_SIZE)

    model.get_input_embeddings().register_forward_hook(moved)
