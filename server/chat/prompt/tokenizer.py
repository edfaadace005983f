"""Text to token ids in the front, where what a user wrote can never become a special token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from server.artifacts.json_object import read_json_object
from server.config import ConfigError

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"


class ChatTokenizer:
    """The tokenizer of one checkpoint, in two readings: for structure, and for anybody's text."""

    def __init__(self, definition: str, bos: str = "", eos: str = "") -> None:
        """`definition` is the text of a tokenizer.json; `bos` and `eos` are what opens and closes a text."""
        self.bos, self.eos = bos, eos
        parsed = _without_prefix(json.loads(definition))
        # A definition may carry settings for training: nothing is cut, filled up, or put around a text here.
        parsed |= {"truncation": None, "padding": None, "post_processor": None}
        self._structure = Tokenizer.from_str(json.dumps(parsed))
        self._content = Tokenizer.from_str(json.dumps(parsed | {"added_tokens": _white_space(parsed)}))
        self.vocab_size = self._structure.get_vocab_size()
        self.longest_token_bytes = max(len(token.encode("utf-8")) for token in self._structure.get_vocab())

    @classmethod
    def from_folder(cls, folder: Path) -> ChatTokenizer:
        """The tokenizer of the checkpoint in `folder`.

        Raises:
            ConfigError: there is no tokenizer.json, or it cannot be read.
        """
        path = folder / TOKENIZER_FILE
        try:
            return cls(path.read_text("utf-8"), *special_tokens(folder))
        except ConfigError:
            raise
        except FileNotFoundError:
            raise ConfigError(f"{path} is missing: a model folder needs its {TOKENIZER_FILE}") from None
        except Exception as error:  # the tokenizers library raises bare Exception for a bad file
            raise ConfigError(f"{path} is not a tokenizer: {error}") from error

    def encode(self, text: str) -> list[int]:
        """The ids of anybody's `text`; special and added tokens written in it are spelt out as ordinary text."""
        ids: list[int] = self._content.encode(text, add_special_tokens=False).ids
        return ids

    def encode_structure(self, text: str) -> list[int]:
        """The ids of text that this server wrote; added tokens count as such."""
        ids: list[int] = self._structure.encode(text, add_special_tokens=False).ids
        return ids

    def ids_of(self, tokens: Sequence[str]) -> tuple[int, ...]:
        """The ids of those of `tokens` that are in the vocabulary as a whole."""
        found = (self._structure.token_to_id(token) for token in tokens)
        return tuple(each for each in found if each is not None)

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """`encode`, and for every token where in `text` the characters end of which it holds a part."""
        encoding = self._content.encode(text, add_special_tokens=False)
        return encoding.ids, [end for _, end in encoding.offsets]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens written out."""
        text: str = self._structure.decode(ids, skip_special_tokens=False)
        return text


def special_tokens(folder: Path) -> tuple[str, str]:
    """The tokens that open and close a text, as tokenizer_config.json names them; "" where it does not.

    Raises:
        ConfigError: the file cannot be read, or names something else than a token.
    """
    path = folder / TOKENIZER_CONFIG_FILE
    try:
        config = read_json_object(path) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{folder}/{error}") from error
    bos, eos = (_token(path, name, config.get(name)) for name in ("bos_token", "eos_token"))
    return bos, eos


def _token(path: Path, name: str, value: Any) -> str:
    text = value.get("content") if isinstance(value, dict) else value or ""
    if not isinstance(text, str):
        raise ConfigError(f"{path}: {name} is {value!r}, which has to be a token or null")
    return text


def _without_prefix(parsed: dict[str, Any]) -> dict[str, Any]:
    """The definition without the blank that some tokenizers put before a text: a prompt is encoded piece by piece."""
    return {
        **parsed,
        "normalizer": _without_steps(parsed.get("normalizer"), "normalizers", "Prepend"),
        "pre_tokenizer": _without_steps(parsed.get("pre_tokenizer"), "pretokenizers", ""),
    }


def _without_steps(step: Any, inner: str, unwanted: str) -> Any:
    if not isinstance(step, dict):
        return step
    if step.get("type") == "Sequence":
        steps = [_without_steps(each, inner, unwanted) for each in step.get(inner, [])]
        return {**step, inner: [each for each in steps if each is not None]}
    if step.get("type") == unwanted:
        return None
    changes = {"prepend_scheme": "never", "add_prefix_space": False}
    return {**step, **{name: value for name, value in changes.items() if name in step}}


def _white_space(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    """The added tokens that are runs of white space: only a way to write text shorter."""
    return [each for each in parsed.get("added_tokens") or [] if not each["content"].strip()]
