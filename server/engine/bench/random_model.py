"""Random-weight models of well-known shapes, for timing where the words do not matter."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from server.engine.parallel.cache_folder import cache_folder

SHAPES = {
    "gpt-neox-410m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "gpt-neox-1.4b": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16},
}
_VOCAB_SIZE = 50304


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
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=_VOCAB_SIZE,
        intermediate_size=4 * shape["hidden_size"],
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,  # a reply always has the length that was asked for
        hidden_size=shape["hidden_size"],
        num_hidden_layers=shape["num_hidden_layers"],
        num_attention_heads=shape["num_attention_heads"],
    )
    model: Any = GPTNeoXForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)


def _write_tokenizer(folder: Path) -> None:
    """One word a token, so that every token is text at once."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({f"w{token}": token for token in range(_VOCAB_SIZE)}, "w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
