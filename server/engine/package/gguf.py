"""A GGUF file, as llama.cpp writes it, as a checkpoint folder that can be packaged: transformers reads it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from server.engine.package.gguf_header import check_header
from server.engine.weights.family import FAMILIES, family_of
from server.engine.weights.sources import WeightsError

# llama.cpp splits digits off first for this one (llama-vocab.cpp); transformers leaves them to the merges.
_SINGLE_DIGITS = "smollm"
# What readers of a damaged file raise.
_FAULTS = (
    OSError, ValueError, LookupError, ArithmeticError, ImportError, TypeError, AttributeError, RuntimeError, MemoryError
)  # fmt: skip


def is_gguf(path: Path) -> bool:
    """Whether `path` is to be read as a GGUF file."""
    return path.suffix == ".gguf" and path.is_file()


def convert_gguf(file: Path, out: Path, dtype: torch.dtype) -> None:
    """Write the checkpoint and tokenizer of `file` into the folder `out`, quantised weights widened to `dtype`.

    The whole model is in memory once.

    Raises:
        WeightsError: it cannot be read, is of a family that is not served, or scales its rotation in a way that the
            file's reader loses.
    """
    pre_tokenizer = check_reader(file)
    level = logging.getLogger("transformers").level
    try:
        logging.getLogger("transformers").setLevel(logging.ERROR)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        model, loaded = _load(file, dtype)
    except _FAULTS as error:
        raise WeightsError(f"{file}: cannot be converted ({error})") from error
    finally:
        logging.getLogger("transformers").setLevel(level)
    if family_of(model.config) is None:
        raise WeightsError(f"{file}: model_type {model.config.model_type!r}; legal are {', '.join(FAMILIES)}")
    if missing := sorted(loaded["missing_keys"]):
        raise WeightsError(f"{file}: tensor {missing[0]!r} ({len(missing)} in all) is missing: fetch the file again")
    if pre_tokenizer == _SINGLE_DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    del model.config.quantization_config  # the tensors are plain by now
    model.hf_quantizer = None
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _load(file: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The model, and what of it the file did not hold."""
    both: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=dtype, local_files_only=True, output_loading_info=True
    )
    model, loaded = both
    return model, loaded


def check_reader(file: Path) -> str:
    """The kind of the file's pre-tokenizer. Raises WeightsError for what transformers' reader would lose."""
    try:
        check_header(file)
        reader = GGUFReader(file)
        architecture = _text(reader, "general.architecture")
        scaling = _text(reader, f"{architecture}.rope.scaling.type")
        pre_tokenizer = _text(reader, "tokenizer.ggml.pre")
    except _FAULTS as error:
        raise WeightsError(f"{file}: not a readable GGUF file ({error})") from error
    if scaling not in ("", "none") or any(tensor.name == "rope_freqs.weight" for tensor in reader.tensors):
        raise WeightsError(
            f"{file}: its rotary frequencies are scaled ({scaling or 'rope_freqs.weight'}), which gets lost here; "
            "package the original checkpoint"
        )
    return pre_tokenizer


def _text(reader: GGUFReader, key: str) -> str:
    field = reader.get_field(key)
    return "" if field is None else str(field.contents())
