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
        self._structure = Tokenizer.from_str(definition)
        self._content = Tokenizer.from_str(_without_added_words(definition))
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

    def num_chars(self, text: str, num_tokens: int) -> int:
        """How many characters of anybody's `text` its first `num_tokens` tokens cover."""
        offsets: list[tuple[int, int]] = self._content.encode(text, add_special_tokens=False).offsets[:num_tokens]
        return max((end for _, end in offsets), default=0)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens written out."""
        text: str = self._structure.decode(ids, skip_special_tokens=False)
        return text


def _without_added_words(definition: str) -> str:
    """The definition without added tokens, but for runs of white space, which are only a way to write text shorter."""
    parsed: dict[str, Any] = json.loads(definition)
    parsed["added_tokens"] = [each for each in parsed.get("added_tokens") or [] if not each["content"].strip()]
    parsed["post_processor"] = None
    return json.dumps(parsed)
