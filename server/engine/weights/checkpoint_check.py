"""What is wrong with a checkpoint's configuration and tokenizer, before anything is loaded. No torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from server.engine.weights.checkpoint_files import CheckpointError, read_json

CONFIG, GENERATION_CONFIG, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
_OTHER_HEADS = re.compile("For(SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice)$")
_SLOW_TOKENIZERS = ("vocab.json", "merges.txt", "tokenizer.model", "vocab.txt")


def check_checkpoint(folder: Path, *, older_tokenizer: bool = False) -> None:
    """Everything that can be seen without reading a weight; an older form of tokenizer passes where it is converted.

    Raises:
        CheckpointError: one sentence on the first thing that is wrong, and what to do about it.
    """
    config = read_json(folder / CONFIG)
    _check_kind(folder, config)
    _check_rotary(folder, config)
    if older_tokenizer and not (folder / TOKENIZER).is_file():
        return
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
    parsed = read_json(folder / TOKENIZER)
    try:
        Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the tokenizers library raises bare Exception for a bad file
        raise CheckpointError(f"{folder / TOKENIZER} is not a tokenizer: {error}") from error
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
    """A reply would end at every ordinary word that stands for its end, or never."""
    ids, added = _ids(tokens), {int(each["id"]) for each in tokens.get("added_tokens") or []}
    sources = {CONFIG: config}
    if (folder / GENERATION_CONFIG).is_file():
        sources[GENERATION_CONFIG] = read_json(folder / GENERATION_CONFIG)
    named = [(name, token) for name, values in sources.items() for token in end_tokens(folder / name, values)]
    for name, token in named:
        if token in ids and token not in added:
            raise CheckpointError(
                f"{folder / name}: eos_token_id {token} is the ordinary token {ids[token]!r}, so replies would end "
                "at it: name the token that ends a text in this tokenizer"
            )
    rows = config.get("vocab_size")
    if named and isinstance(rows, int) and not any(0 <= token < rows for _, token in named):
        name, token = named[0]
        raise CheckpointError(
            f"{folder / name}: eos_token_id {token} is no token of the model's {rows}, so no reply would end: name the "
            "token that ends a text in this tokenizer"
        )


def end_tokens(path: Path, values: dict[str, Any]) -> list[int]:
    """The tokens that end a reply, as the file at `path` with these values says: one, several or none.

    Raises:
        CheckpointError: eos_token_id is neither a number nor a list of numbers.
    """
    value = values.get("eos_token_id")
    found = value if isinstance(value, list) else [] if value is None else [value]
    if any(not isinstance(token, int) or isinstance(token, bool) for token in found):
        raise CheckpointError(f"{path}: eos_token_id is {value!r}, which has to be a token's number or a list of them")
    return found


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    """Raises CheckpointError where the weights are no language model's, or not its own numbers."""
    named = config.get("architectures")
    if wrong := [each for each in named if _OTHER_HEADS.search(str(each))] if isinstance(named, list) else []:
        raise CheckpointError(f"{folder / CONFIG}: architectures names {wrong[0]!r}, which is no language model")
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
        raise CheckpointError(
            f"{folder / CONFIG}: its weights are quantised ({method}), which is not read: use the original checkpoint, "
            "and OCK_DTYPE=int8 or int4"
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
