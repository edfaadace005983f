"""Labelled texts for the demo moderation model: filled phrases, ordinary sentences and questions."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from container.demo.data.articles import Article, is_clean
from container.demo.data.moderation_sentences import Sentences
from container.demo.data.questions import questions_about
from container.demo.data.smalltalk import SmallTalk, retyped
from container.demo.data.word_vectors import relatives
from server.chat.text.lookalikes import readings

_SLOT = re.compile(r"\{(\w+)\}")
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
_MOST_WORDS_BESIDE, _MOST_WORDS_TOGETHER = 18, 54  # of a harmless sentence beside another, and of all
_GREETINGS = ("Hello.", "Hi!", "Listen,", "Hey,", "Well,", "Please,", "Honestly,", "ok", "So,", "And", "But", "Then")
_WORD = re.compile(r"[\w']+")
_LONGEST_APART = 160  # characters of a text whose letters are put together again
_APART: tuple[Callable[[list[str]], str], ...] = (
    "".join,
    lambda words: " ".join(letter for word in words for letter in word),
    lambda words: " ".join(".".join(word) for word in words),
)


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
        for words in self._words.values():
            words["all"] = words["seen"] + words["held_out"]
        self._templates: dict[str, dict[str, list[str]]] = raw
        self._relatives: dict[str, list[str]] = {}

    def widen(self) -> None:
        """From now on also fill templates with words that mean much the same; none stands near two slots of different
        labels.
        """
        for slot, count in _WIDENED.items():
            self._relatives[slot] = relatives(self._words[slot]["all"], (), count)
        shared = set(self._relatives["violence"]) & set(self._relatives["kindness"])
        for slot in ("violence", "kindness"):
            self._relatives[slot] = [word for word in self._relatives[slot] if word not in shared]

    def draw(self, group: str, rng: random.Random, templates: str = "seen", words: str = "seen") -> Labelled:
        """One text of a phrase group."""
        template = rng.choice(self._templates[group][templates])
        text = self.fill(template, rng, words)
        return Labelled(" ".join(text.split()), _LABELS[group], group)

    def fill(self, text: str, rng: random.Random, words: str = "seen") -> str:
        """`text` with words in the place of its {slots}."""
        return _SLOT.sub(lambda match: self._word(match[1], words, rng), text)

    def _word(self, slot: str, words: str, rng: random.Random) -> str:
        if words != "held_out" and slot in self._relatives and rng.random() < _SHARE_OF_RELATIVES:
            return rng.choice(self._relatives[slot])
        return rng.choice(self._words[slot][words])

    def texts(self) -> list[str]:
        """Every seen template and word."""
        templates = [text for group in self._templates.values() for text in group["seen"]]
        return templates + [word for words in self._words.values() for word in words["seen"]]


class OrdinaryTexts:
    """Sentences of articles, questions about them and small talk, which a profanity teacher found harmless."""

    def __init__(
        self, articles: Sequence[Article], small_talk: SmallTalk, news: Sequence[str] = (), teacher_limit: float = 0.5
    ) -> None:
        """`news` are sentences of news reports, harmless whatever they report."""
        self._news = news
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

    def report(self, rng: random.Random) -> Labelled:
        """A sentence of a news report; of an article where there are none."""
        return Labelled(rng.choice(self._news), "casual", "report") if self._news else self.sentence(rng)

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

    def __init__(
        self, phrases: Phrases, sentences: Sentences, ordinary: OrdinaryTexts, abroad: Sequence[str], rng: random.Random
    ) -> None:
        """`abroad` are harmless texts in other languages."""
        self._phrases = phrases
        self._sentences = sentences
        self._ordinary = ordinary
        self._abroad = abroad
        self._rng = rng

    def text(self) -> Labelled:
        """One labelled text, typed in one of the ways people type, or as a disguised text is read."""
        drawn = self._rng.choices(_MIX, _SHARES)[0](self)
        return replace(drawn, text=_as_read(drawn.text, self._rng))

    def _threat(self) -> Labelled:
        return self._said(self._phrases.draw("intervention", self._rng, words="all"))

    def _sentence(self, kind: str) -> Labelled:
        text = self._sentences.draw(kind, lambda each: self._phrases.fill(each, self._rng, "all"), self._rng)
        return self._said(Labelled(text, _LABELS[kind], kind))

    def _harmless(self) -> Labelled:
        return self._said(self._phrases.draw("casual", self._rng, words="all"))

    def _usual(self) -> Labelled:
        sources = (self._ordinary.sentence, self._ordinary.question, self._ordinary.talk, self._ordinary.report)
        return self._rng.choices(sources, (4, 3, 2, 2))[0](self._rng)

    def _any_harmless(self) -> str:
        """A short text that may stand beside any other without changing what is thought of it."""
        while len((text := self._one_harmless()).split()) > _MOST_WORDS_BESIDE:
            pass
        return text

    def _one_harmless(self) -> str:
        draw = self._rng.random()
        if draw < 0.25:
            return self._sentence("casual").text
        return self._usual().text if draw < 0.85 else self._harmless().text

    def _several(self) -> Labelled:
        """Harmless sentences one after the other, as a run of sentences or a whole text is judged."""
        count = self._rng.choice((2, 2, 3, 3, 4, 5))
        return Labelled(" ".join(_ended(self._any_harmless()) for _ in range(count)), _LABELS["casual"], "several")

    def _among(self) -> Labelled:
        """A threat with harmless sentences before it, after it, or both."""
        threat = self._threat() if self._rng.random() < 0.5 else self._sentence("intervention")
        around: list[str] = []
        most = self._rng.choice((18, 30, 42, _MOST_WORDS_TOGETHER)) - len(threat.text.split())
        while (beside := _ended(self._any_harmless())) and len(" ".join((*around, beside)).split()) <= most:
            around.append(beside)
        around.insert(self._rng.randint(0, len(around)), _ended(threat.text))
        return Labelled(" ".join(around), threat.label, "among")

    def _elsewhere(self) -> Labelled:
        """A harmless text in another language, as one of its readings has it, or of numbers, signs and emoji."""
        text = self._rng.choice(self._abroad) if self._rng.random() < 0.75 else signs(self._rng)
        return Labelled(self._rng.choice(readings(text) or [text]), _LABELS["casual"], "elsewhere")

    def _other(self) -> Labelled:
        return self._said(self._phrases.draw(self._rng.choice(("caution", "probably", "possibly")), self._rng))

    def _said(self, drawn: Labelled) -> Labelled:
        """The phrase retyped, at times with a greeting before it; the label stays."""
        text = retyped(drawn.text, self._rng)
        if self._rng.random() < 0.15:
            text = f"{self._rng.choice(_GREETINGS)} {text}"
        return Labelled(text, drawn.label, drawn.group)


# What is drawn, and how often.
_MIX: tuple[Callable[[TextSampler], Labelled], ...] = (
    TextSampler._threat,
    lambda sampler: sampler._sentence("intervention"),
    TextSampler._among,
    TextSampler._harmless,
    lambda sampler: sampler._sentence("casual"),
    TextSampler._usual,
    TextSampler._several,
    TextSampler._elsewhere,
    TextSampler._other,
)
_SHARES = (8, 20, 7, 9, 31, 9, 6, 5, 5)


def _ended(text: str) -> str:
    return text if text[-1:] in (".", "!", "?") else f"{text}."


def _as_read(text: str, rng: random.Random) -> str:
    """At times in small letters without signs, as the letters of a disguised text are put together, or mistyped."""
    draw = rng.random()
    if draw < 0.08:
        return " ".join(_WORD.findall(text.lower())) or text
    if draw < 0.11:
        return text.lower()
    if draw < 0.17 and len(text) < _LONGEST_APART:
        return readings(rng.choice(_APART)(text.split()))[-1]
    if draw < 0.23 and len(text) > 8:
        place = rng.randrange(len(text) - 1)
        return text[:place] + rng.choice((text[place] * 2, "", text[place + 1] + text[place])) + text[place + 1 :]
    return text


def signs(rng: random.Random) -> str:
    """A harmless text of numbers, signs and emoji."""
    kinds = (
        lambda: str(rng.randint(0, 99999)),
        lambda: f"{rng.randint(1, 28)}.{rng.randint(1, 12)}.{rng.randint(1950, 2030)}",
        lambda: f"{rng.uniform(0, 900):.2f} {rng.choice('€$£%')}",
        lambda: rng.choice("❤😂😊🎉👍🔥🙏🌍🐶🍕🚀⚽🎂😭💀🔪💣") * rng.randint(1, 3),
        lambda: f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}",
        lambda: rng.choice(("+", "-", "=", "x = 3;", "a[i] += 1", "<br>", "()", "...", "ISBN", "km", "pm", "#1")),
    )  # fmt: skip
    return " ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 7)))


def _found_harmless(sentences: list[str], limit: float) -> list[str]:
    from profanity_check import predict_prob  # slow to import, needed here alone

    scores = predict_prob(sentences)
    return [sentence for sentence, score in zip(sentences, scores, strict=True) if score < limit]
