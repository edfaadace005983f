"""Labelled texts for the demo moderation model: filled phrases, ordinary sentences and questions."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from container.demo.data.articles import Article, is_clean
from container.demo.data.questions import questions_about
from container.demo.data.smalltalk import SmallTalk, retyped
from container.demo.data.word_vectors import relatives

_PHRASES = Path(__file__).with_name("moderation_phrases.toml")
_LABELS = {
    "intervention": "needs intervention",
    "caution": "needs caution",
    "probably": "probably needs caution",
    "possibly": "possibly needs caution",
    "casual": "casual",
}
_WIDENED = {"violence": 110, "kindness": 160, "weapon": 40, "place": 70, "group": 70}  # relatives of each slot's words
_SHARE_OF_RELATIVES = 0.35
_PLACES_OF_SAID = ("bare", "bare", "bare", "bare", "greeted", "quoted_after", "after_fact")


@dataclass(frozen=True)
class Labelled:
    """A text with its label; `group` is the phrase group or source that it came from."""

    text: str
    label: str
    group: str


class Phrases:
    """Fills the phrase file's templates with words of one part, seen or held out."""

    def __init__(self, path: Path = _PHRASES) -> None:
        raw = tomllib.loads(path.read_text("utf-8"))
        self._words: dict[str, dict[str, list[str]]] = raw.pop("words")
        self._templates: dict[str, dict[str, list[str]]] = raw
        self._relatives: dict[str, list[str]] = {}

    def widen(self) -> None:
        """From now on also fill seen templates with words that mean much the same as the seen ones.

        No relative begins like a held-out word, nor stands near two slots of different labels.
        """
        held_out = [word for words in self._words.values() for word in words["held_out"]]
        for slot, count in _WIDENED.items():
            self._relatives[slot] = relatives(self._words[slot]["seen"], held_out, count)
        shared = set(self._relatives["violence"]) & set(self._relatives["kindness"])
        for slot in ("violence", "kindness"):
            self._relatives[slot] = [word for word in self._relatives[slot] if word not in shared]

    def draw(self, group: str, rng: random.Random, templates: str = "seen", words: str = "seen") -> Labelled:
        """One text of a phrase group."""
        template = rng.choice(self._templates[group][templates])
        text = re.sub(r"\{(\w+)\}", lambda match: self._word(match[1], words, rng), template)
        return Labelled(" ".join(text.split()), _LABELS[group], group)

    def _word(self, slot: str, words: str, rng: random.Random) -> str:
        if words == "seen" and slot in self._relatives and rng.random() < _SHARE_OF_RELATIVES:
            return rng.choice(self._relatives[slot])
        return rng.choice(self._words[slot][words])

    def texts(self) -> list[str]:
        """Every seen template and word."""
        templates = [text for group in self._templates.values() for text in group["seen"]]
        return templates + [word for words in self._words.values() for word in words["seen"]]


class OrdinaryTexts:
    """Sentences of articles, questions about them and small talk, which a profanity teacher found harmless."""

    def __init__(self, articles: Sequence[Article], small_talk: SmallTalk, teacher_limit: float = 0.5) -> None:
        self._sentences = _found_harmless(
            [s for article in articles for section in article.sections for s in section if is_clean(s)], teacher_limit
        )
        self._small_talk = small_talk

    def sentence(self, rng: random.Random) -> Labelled:
        """A sentence of an article, whole or cut short."""
        text = rng.choice(self._sentences)
        words = text.split()
        if rng.random() < 0.3 and len(words) > 8:
            text = " ".join(words[: rng.randint(4, len(words))])
        return Labelled(text, "casual", "sentence")

    def question(self, rng: random.Random) -> Labelled:
        """A question about a sentence of an article."""
        while True:
            found = questions_about(rng.choice(self._sentences), rng)
            if found:
                return Labelled(rng.choice(found).text, "casual", "question")

    def talk(self, rng: random.Random) -> Labelled:
        """A phrase or a reply of small talk."""
        return Labelled(rng.choice(self._small_talk.exchange(rng)), "casual", "talk")


class TextSampler:
    """Draws training texts with the mix of labels that the model should expect."""

    def __init__(self, phrases: Phrases, ordinary: OrdinaryTexts, rng: random.Random) -> None:
        self._phrases = phrases
        self._ordinary = ordinary
        self._rng = rng

    def text(self) -> Labelled:
        """One labelled text, typed in one of the ways people type."""
        rng, draw = self._rng, self._rng.random()
        if draw < 0.30:
            return self._said(self._phrases.draw("intervention", rng))
        if draw < 0.54:
            return self._said(self._phrases.draw("casual", rng))
        if draw < 0.78:
            sources = (self._ordinary.sentence, self._ordinary.question, self._ordinary.talk)
            return rng.choices(sources, (4, 3, 2))[0](rng)
        return self._said(self._phrases.draw(rng.choice(("caution", "probably", "possibly")), rng))

    def _said(self, drawn: Labelled) -> Labelled:
        """The phrase retyped, at times with a harmless sentence around it; the label stays."""
        rng = self._rng
        text = retyped(drawn.text, rng)
        place = rng.choice(_PLACES_OF_SAID)
        if place == "greeted":
            text = f"{rng.choice(('Hello.', 'Hi!', 'Listen,', 'Hey,', 'Well,', 'Please,', 'Honestly,', 'ok'))} {text}"
        elif place == "after_fact" and drawn.group != "casual":
            text = f"{self._ordinary.talk(rng).text} {text}"
        elif place == "quoted_after" and rng.random() < 0.5:
            text = f"{text} {self._ordinary.talk(rng).text}"
        return Labelled(text, drawn.label, drawn.group)


def _found_harmless(sentences: list[str], limit: float) -> list[str]:
    from profanity_check import predict_prob  # slow to import, needed here alone

    scores = predict_prob(sentences)
    return [sentence for sentence, score in zip(sentences, scores, strict=True) if score < limit]
