"""The articles the demo learns from: a sample of a real Wikipedia dump, parted into training and held-out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_EVERY = 7


@dataclass(frozen=True)
class Article:
    """One article: its title and, paragraph by paragraph, its clean sentences."""

    title: str
    paragraphs: tuple[tuple[str, ...], ...]

    @property
    def topic(self) -> str:
        """The title without a bracketed qualifier."""
        return self.title.split(" (")[0]


def is_held_out(title: str) -> bool:
    """Whether an article is kept for evaluation; decided by its title alone, so the parting never moves."""
    return int(hashlib.md5(title.encode(), usedforsecurity=False).hexdigest(), 16) % HELD_OUT_EVERY == 0


def load_articles(path: Path) -> list[Article]:
    """Read the articles that `write_articles` stored."""
    return [
        Article(title, tuple(tuple(paragraph) for paragraph in paragraphs))
        for title, paragraphs in json.loads(path.read_text("utf-8"))
    ]
