"""Text to token ids in the front, where what a user wrote can never become a special token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from server.config import ConfigError

TOKENIZER_FILE = "tokenizer.json"


class ChatTokenizer:
    """The tokenizer of one checkpoint, in two readings: for structure, and for anybody's text."""

    def __init__(self, definition: str) -> None:
        """`definition` is the text of a tokenizer.json."""
        parsed = json.loads(definition)
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
            return cls(path.read_text("utf-8"))
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

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """`encode`, and for every token where in `text` the characters end of which it holds a part."""
        encoding = self._content.encode(text, add_special_tokens=False)
        return encoding.ids, [end for _, end in encoding.offsets]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens written out."""
        text: str = self._structure.decode(ids, skip_special_tokens=False)
        return text


def _white_space(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    """The added tokens that are runs of white space: only a way to write text shorter."""
    return [each for each in parsed.get("added_tokens") or [] if not each["content"].strip()]
