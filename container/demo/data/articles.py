"""The articles the demo learns from: a sample of a real Wikipedia dump, parted into training and held-out."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import gensim

from index_builder.documents import read_documents
from index_builder.passages import split_sentences

HELD_OUT_EVERY = 7
_FEWEST_SENTENCES = 8
_ODD = re.compile(r"[\[\]{}|=<>*#_\\]|http")


@dataclass(frozen=True)
class Article:
    """One article: its title and, section by section, its sentences as retrieval would give them."""

    title: str
    sections: tuple[tuple[str, ...], ...]

    @property
    def topic(self) -> str:
        """The title without a bracketed qualifier."""
        return self.title.split(" (")[0]


def is_held_out(title: str) -> bool:
    """Whether an article is kept for evaluation; decided by its title alone, so the parting never moves."""
    return int(hashlib.md5(title.encode(), usedforsecurity=False).hexdigest(), 16) % HELD_OUT_EVERY == 0


def is_clean(sentence: str) -> bool:
    """Whether a sentence is plain prose worth asking about: no markup left over, balanced, of a usual length."""
    words = sentence.split()
    return (
        4 <= len(words) <= 45
        and sentence[-1] == "."
        and sentence[0].isupper()
        and not _ODD.search(sentence)
        and sentence.count("(") == sentence.count(")")
        and sentence.count('"') % 2 == 0
    )


def read_articles(cache: Path, source: str = "sample") -> list[Article]:
    """The articles of a dump with enough clean sentences; parsed once, then kept in the file `cache`."""
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        rows = [(article.title, article.sections) for article in _parse(source)]
        cache.write_text(json.dumps(rows), "utf-8")
    rows = json.loads(cache.read_text("utf-8"))
    return [Article(title, tuple(tuple(section) for section in sections)) for title, sections in rows]


def read_news(held_out: bool = False) -> list[str]:
    """Sentences of the news reports that gensim carries; one in seven is held out."""
    reports = Path(gensim.__file__).parent / "test" / "test_data" / "lee_background.cor"
    told = [sentence for report in reports.read_text("utf-8").splitlines() for sentence in split_sentences(report)]
    plain = [sentence for sentence in dict.fromkeys(told) if 4 <= len(sentence.split()) <= 40]
    return [each for number, each in enumerate(plain) if (number % HELD_OUT_EVERY == 3) == held_out]


def _parse(source: str) -> list[Article]:
    articles = []
    for document in read_documents(source):
        sections = tuple(tuple(split_sentences(section.text)) for section in document.sections)
        if sum(is_clean(sentence) for section in sections for sentence in section) >= _FEWEST_SENTENCES:
            articles.append(Article(document.title, sections))
    return articles
