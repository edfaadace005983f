"""Saving a trained model the way the server loads it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from container.demo.tokenizer import END_OF_TEXT_ID, save_tokenizer


def save_model(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a bfloat16 checkpoint folder with an output matrix of its own, as tensor-parallel loading expects."""
    folder.mkdir(parents=True, exist_ok=True)
    config = type(model.config)(**{**model.config.to_dict(), "tie_word_embeddings": False})
    untied = type(model)(config)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["lm_head.weight"] = model.get_output_embeddings().weight.detach().clone()
    untied.load_state_dict(state)
    untied.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder, model.config.max_position_embeddings)
    generation = {"bos_token_id": END_OF_TEXT_ID, "eos_token_id": END_OF_TEXT_ID, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", "utf-8")
