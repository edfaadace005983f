"""Random-weight models of well-known shapes, for timing where the words do not matter."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.engine.parallel.cache_folder import cache_folder

SHAPES = {
    "gpt-neox-410m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "gpt-neox-20b": {"hidden_size": 6144, "num_hidden_layers": 44, "num_attention_heads": 64},
    "gpt-neox-1.4b": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16},
}
_VOCAB_SIZE = 50304
_SHARD_VALUES = 1_000_000_000  # 2 GB


def random_model(name: str) -> Path:
    """A checkpoint folder of shape `name` with random weights and a tokenizer; made once and kept.

    Raises:
        KeyError: no such shape.
    """
    shape = SHAPES[name]
    cache = cache_folder() / "bench"
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch) / name
            _write_weights(made, shape)
            _write_tokenizer(made)
            made.rename(folder)
    return folder


def _write_weights(folder: Path, shape: dict[str, int]) -> None:
    """Shard by shard, each made on the GPU where there is one: no more than a shard is ever in memory."""
    import torch
    from safetensors.torch import save_file
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=_VOCAB_SIZE,
        intermediate_size=4 * shape["hidden_size"],
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,  # a reply always has the length that was asked for
        architectures=["GPTNeoXForCausalLM"],
        dtype="bfloat16",
        hidden_size=shape["hidden_size"],
        num_hidden_layers=shape["num_hidden_layers"],
        num_attention_heads=shape["num_attention_heads"],
    )
    with torch.device("meta"):
        model: Any = GPTNeoXForCausalLM(config)
    folder.mkdir()
    config.save_pretrained(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    places: dict[str, str] = {}
    for number, names in enumerate(_shards(model)):
        file = f"model-{number:05d}.safetensors"
        tensors = {name: _random(name, model.get_parameter(name).shape, device).cpu() for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(names, file))
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def _shards(model: Any) -> Iterator[list[str]]:
    names, num_values = [], 0
    for name, parameter in model.named_parameters():
        names.append(name)
        num_values += parameter.numel()
        if num_values > _SHARD_VALUES:
            yield names
            names, num_values = [], 0
    if names:
        yield names


def _random(name: str, size: Any, device: str) -> Any:
    """As transformers begins: matrices normal with a deviation of 0.02, norms one, biases zero."""
    import torch

    tensor = torch.empty(size, dtype=torch.bfloat16, device=device)
    if name.endswith("bias"):
        return tensor.zero_()
    return tensor.fill_(1) if tensor.dim() == 1 else tensor.normal_(0, 0.02)


def _write_tokenizer(folder: Path) -> None:
    """One word a token, so that every token is text at once."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({f"w{token}": token for token in range(_VOCAB_SIZE)}, "w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
