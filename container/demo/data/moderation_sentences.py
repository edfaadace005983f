"""Sentences written with alternatives, "(a|b|c)", drawn as one of the many texts that each stands for."""

from __future__ import annotations

import hashlib
import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

_FILES = {"intervention": "moderation_hostile.toml", "casual": "moderation_harmless.toml"}
_CHOICE = re.compile(r"\(([^()]*)\)")
_BEFORE_SIGN = re.compile(r"\s+([,.!?]|'(?:m|s|d|ll|ve|re)\b)")
_HELD_OUT_EVERY = 8
KINDS = tuple(_FILES)


class Sentences:
    """Draws sentences of a kind, of those that train or of those that are held out."""

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        raw = {kind: _patterns(folder / name) for kind, name in _FILES.items()}
        self._seen = {kind: [each for each in raw[kind] if not _is_held_out(each)] for kind in KINDS}
        self._held_out = {kind: [each for each in raw[kind] if _is_held_out(each)] for kind in KINDS}

    def draw(self, kind: str, fill: Callable[[str], str], rng: random.Random, *, held_out: bool = False) -> str:
        """One sentence; `fill` puts words in the place of its {slots}."""
        pattern = rng.choice((self._held_out if held_out else self._seen)[kind])
        text = fill(_CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), pattern))
        return _BEFORE_SIGN.sub(r"\1", " ".join(text.split()))

    def texts(self) -> list[str]:
        """The words of every sentence that trains, for the tokenizer."""
        return [re.sub(r"[()|]", " ", each) for kind in KINDS for each in self._seen[kind]]


def _patterns(path: Path) -> list[str]:
    """The sentences of all of a file's subjects."""
    subjects: dict[str, list[str]] = tomllib.loads(path.read_text("utf-8"))
    return [each for sentences in subjects.values() for each in sentences]


def _is_held_out(pattern: str) -> bool:
    return int(hashlib.md5(pattern.encode(), usedforsecurity=False).hexdigest(), 16) % _HELD_OUT_EVERY == 0
