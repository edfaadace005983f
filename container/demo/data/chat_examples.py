"""Evaluation questions over held-out articles: made automatically, and written by hand."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

from container.demo.data.articles import Article
from container.demo.data.chat_data import Windows, ask

_BY_HAND = Path(__file__).with_name("hand_questions.toml")


@dataclass(frozen=True)
class Example:
    """A question over a passage of `sentences`; a right reply holds `gold`, the best one is `reply`."""

    title: str
    sentences: tuple[str, ...]
    question: str
    gold: str
    reply: str
    kind: str

    @property
    def passage(self) -> str:
        """The sentences as the server would show them."""
        return " ".join(self.sentences)


def made_examples(articles: list[Article], count: int, seed: int, held_out_frames: bool) -> list[Example]:
    """Questions over three-sentence windows, no two over the same window; none filtered for being easy."""
    rng = random.Random(seed)
    windows = Windows(articles, rng)
    found: dict[str, Example] = {}
    for _ in range(count * 60):
        topic, sentences = windows.draw()
        if len(sentences) != 3 or sentences[0] in found:
            continue
        asked = ask(sentences, topic, rng, held_out_frames=held_out_frames, is_filtered=False)
        if asked:
            chosen = rng.choice(asked)
            if chosen.gold:
                found[sentences[0]] = Example(
                    topic, tuple(sentences), chosen.text, gold=chosen.gold, reply=chosen.reply, kind=chosen.kind
                )
        if len(found) == count:
            break
    return list(found.values())


def hand_examples(articles: list[Article]) -> list[Example]:
    """The hand-written questions, each over the three sentences around the one that holds its `at` words.

    Raises:
        ValueError: no sentence of the named article holds the words.
    """
    by_title = {article.title: article for article in articles}
    rows = tomllib.loads(_BY_HAND.read_text("utf-8"))["question"]
    return [_by_hand(by_title[row["article"]], row) for row in rows]


def _by_hand(article: Article, row: dict[str, str]) -> Example:
    for section in article.sections:
        for place, sentence in enumerate(section):
            if row["at"] in sentence:
                start = max(0, min(place - 1, len(section) - 3))
                window = section[start : start + 3]
                return Example(article.topic, tuple(window), row["ask"], gold=row["gold"], reply=sentence, kind="hand")
    raise ValueError(f"hand_questions.toml: article {article.title!r} has no sentence with {row['at']!r}")
