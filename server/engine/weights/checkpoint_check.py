"""What is wrong with a checkpoint's configuration and tokenizer, before anything is loaded. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from server.engine.weights.checkpoint_files import CheckpointError, read_json, refuse_pointers

CONFIG, GENERATION_CONFIG, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
_SLOW_TOKENIZERS = ("vocab.json", "merges.txt", "tokenizer.model", "vocab.txt")


def check_checkpoint(folder: Path) -> None:
    """Everything that can be seen without reading a weight.

    Raises:
        CheckpointError: one sentence on the first thing that is wrong, and what to do about it.
    """
    config = read_json(folder / CONFIG)
    _check_rotary(folder, config)
    tokens = _tokenizer(folder)
    try:
        _check_vocabulary(folder, config, tokens)
        _check_end_tokens(folder, config, tokens)
    except CheckpointError:
        raise
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / TOKENIZER}: its tokens cannot be read ({error!r}); fetch it again") from error


def check_tokenizer_is_there(folder: Path) -> None:
    """Raises CheckpointError where there is no tokenizer.json, with the way to one."""
    if (folder / TOKENIZER).is_file():
        return
    others = [name for name in _SLOW_TOKENIZERS if (folder / name).is_file()]
    found = f"only {' and '.join(others)}: 'python -m deploy package' writes it" if others else "fetch it again"
    raise CheckpointError(f"{folder / TOKENIZER} is missing; {found}")


def check_older_tokenizer(folder: Path) -> None:
    """Raises CheckpointError where there is nothing to make a tokenizer.json of."""
    if not any((folder / name).is_file() for name in _SLOW_TOKENIZERS):
        raise CheckpointError(f"none of {', '.join(_SLOW_TOKENIZERS)} is there")


def _tokenizer(folder: Path) -> dict[str, Any]:
    check_tokenizer_is_there(folder)
    refuse_pointers([folder / TOKENIZER])
    try:
        parsed = json.loads((folder / TOKENIZER).read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / TOKENIZER} is not JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{folder / TOKENIZER} does not hold an object")
    return parsed


def _ids(tokens: dict[str, Any]) -> dict[int, str]:
    vocabulary = (tokens.get("model") or {}).get("vocab") or {}
    # Unigram models have a list of pieces with their scores.
    pairs = (
        vocabulary.items() if isinstance(vocabulary, dict) else ((each[0], at) for at, each in enumerate(vocabulary))
    )
    return {int(number): token for token, number in pairs} | {
        int(each["id"]): each["content"] for each in tokens.get("added_tokens") or []
    }


def _check_vocabulary(folder: Path, config: dict[str, Any], tokens: dict[str, Any]) -> None:
    rows, ids = config.get("vocab_size"), _ids(tokens)
    if isinstance(rows, int) and ids and max(ids) >= rows:
        raise CheckpointError(
            f"{folder / TOKENIZER} has token {ids[max(ids)]!r} with id {max(ids)}, and the embedding has {rows} rows "
            "(vocab_size in config.json): use the tokenizer that the model was trained with, or resize the embedding"
        )


def _check_end_tokens(folder: Path, config: dict[str, Any], tokens: dict[str, Any]) -> None:
    """A reply would end at every ordinary word that stands for its end."""
    ids, added = _ids(tokens), {int(each["id"]) for each in tokens.get("added_tokens") or []}
    sources = {CONFIG: config}
    if (folder / GENERATION_CONFIG).is_file():
        sources[GENERATION_CONFIG] = read_json(folder / GENERATION_CONFIG)
    for name, values in sources.items():
        found = values.get("eos_token_id")
        for token in found if isinstance(found, list) else [found]:
            if isinstance(token, int) and token in ids and token not in added:
                raise CheckpointError(
                    f"{folder / name}: eos_token_id {token} is the ordinary token {ids[token]!r}, so replies would end "
                    "at it: name the token that ends a text in this tokenizer"
                )


def _check_rotary(folder: Path, config: dict[str, Any]) -> None:
    turned = _num_turned(config)
    if turned is not None and (turned <= 0 or turned % 2):
        raise CheckpointError(
            f"{folder / CONFIG}: {turned} values of a head are rotated, which has to be an even number above 0: mend "
            "rotary_pct, rotary_dim or the head's size"
        )


def _num_turned(config: dict[str, Any]) -> int | None:
    """How many values of a head carry the position; None where the family has no such thing, or it cannot be told."""
    if config.get("model_type") == "gptj":
        turned = config.get("rotary_dim", 64)
        return turned if isinstance(turned, int) else None
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    own = config.get("head_dim")
    if not isinstance(own, int) and not (isinstance(width, int) and isinstance(heads, int) and heads):
        return None
    head = own if isinstance(own, int) else width // heads  # type: ignore[operator]
    if config.get("model_type") == "gpt_neox":
        parameters = config.get("rope_parameters") or {}
        share = config.get("rotary_pct", parameters.get("partial_rotary_factor", 0.25))
        return int(head * share) if isinstance(share, int | float) else None
    return head if config.get("model_type") in ("llama", "mistral", "qwen2") else None
