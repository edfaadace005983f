"""Checkpoint folders: opening one to continue from, and saving one the way the server loads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from container.demo.data.tokenizer import END_OF_TEXT_ID, save_tokenizer

_Model = TypeVar("_Model", bound=PreTrainedModel)
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


class CheckpointError(ValueError):
    """A folder that training cannot continue from; the sentence names it and what is needed."""


def open_checkpoint(family: type[_Model], folder: Path) -> tuple[_Model, Tokenizer]:
    """The model, in float32, and the tokenizer of a checkpoint folder.

    Raises:
        CheckpointError: a file is missing, or the checkpoint is of another model family.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"--init-from {folder}: {name} is missing; a Hugging Face checkpoint folder is needed"
            )
    found = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    wanted = getattr(family.config_class, "model_type", None)
    if found != wanted:
        raise CheckpointError(f"--init-from {folder}: model_type is {found!r}, {wanted!r} is needed")
    model = family.from_pretrained(folder, dtype=torch.float32)
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def save_new(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Save a model trained from nothing, with its own tokenizer; bfloat16."""
    _save_weights(model, folder)
    save_tokenizer(tokenizer, folder, model.config.max_position_embeddings)
    generation = {"bos_token_id": END_OF_TEXT_ID, "eos_token_id": END_OF_TEXT_ID, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", "utf-8")


def save_continued(model: PreTrainedModel, origin: Path, folder: Path) -> None:
    """Save a model continued from the checkpoint `origin`, whose tokenizer files go along; bfloat16."""
    _save_weights(model, folder)
    for name in _TOKENIZER_FILES:
        if (origin / name).is_file():
            shutil.copyfile(origin / name, folder / name)


def _save_weights(model: PreTrainedModel, folder: Path) -> None:
    """Write the weights with an output matrix of its own, as tensor-parallel loading expects."""
    folder.mkdir(parents=True, exist_ok=True)
    config = type(model.config)(**{**model.config.to_dict(), "tie_word_embeddings": False})
    untied = type(model)(config)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["lm_head.weight"] = model.get_output_embeddings().weight.detach().clone()
    untied.load_state_dict(state)
    untied.bfloat16().save_pretrained(folder)
