"""The demo's GPT-NeoX: its shape and its initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from container.demo.data.tokenizer import BOT, END_OF_TEXT_ID, HUMAN
from container.demo.data.word_vectors import minilm_embeddings
from container.demo.data.words import FUNCTION_WORDS
from container.demo.train.induction import Marks, Strengths, set_copying_heads

CHAT_VOCAB = 4096
CONTEXT_TOKENS = 2048
# Large beside one optimizer step, so that early steps do not wash away what the heads note; the last norm evens it out.
_EMBEDDING_SIZE = 0.33
_LAST_NORM = 0.125
_INDIVIDUAL = 0.4  # share of a token's vector that is its own
_LEVELLING = 0.5


def new_chat_model(tokenizer: Tokenizer, seed: int, hidden: int = 256, layers: int = 4) -> GPTNeoXForCausalLM:
    """A model ready to train: MiniLM's words as embeddings, copying heads set. Output is tied to the embeddings."""
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * hidden,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        max_position_embeddings=CONTEXT_TOKENS,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bos_token_id=END_OF_TEXT_ID,
        eos_token_id=END_OF_TEXT_ID,
        tie_word_embeddings=True,
    )
    model = GPTNeoXForCausalLM(config)
    initialise(model)
    words = minilm_embeddings(tokenizer, hidden // 2, _INDIVIDUAL, levelling=_LEVELLING, seed=seed) * _EMBEDDING_SIZE
    marks = Marks(
        sentence_ends=_first_tokens(tokenizer, (".",)),
        passage_openers=_first_tokens(tokenizer, ("Background",)),
        other_openers=_first_tokens(tokenizer, (HUMAN, BOT)),
        function_words=_whole_tokens(tokenizer, FUNCTION_WORDS | {"?", ",", ":", "\n", "'s"}),
    )
    nn.init.constant_(model.gpt_neox.final_layer_norm.weight, _LAST_NORM)
    set_copying_heads(model, words, marks, strengths=Strengths(), seed=seed)
    return model


def _first_tokens(tokenizer: Tokenizer, texts: tuple[str, ...]) -> list[int]:
    return [tokenizer.encode(text, add_special_tokens=False).ids[0] for text in texts]


def _whole_tokens(tokenizer: Tokenizer, words: Iterable[str]) -> list[int]:
    """Ids of the words that are one token, with and without a space before them or a capital."""
    forms = {form for word in words for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")}
    found = (tokenizer.encode(form, add_special_tokens=False).ids for form in sorted(forms))
    return [ids[0] for ids in found if len(ids) == 1]


def initialise(model: nn.Module) -> None:
    """Set matrices at half the usual size, those that write into the residual stream near zero."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            writes = name.endswith(("attention.dense.weight", "dense_4h_to_h.weight"))
            nn.init.normal_(parameter, std=(0.05 if writes else 0.5) / math.sqrt(parameter.shape[1]))
