"""Replaces names, numbers and rare words of a passage by invented ones, so that copying cannot become remembering."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from container.demo.data.words import FUNCTION_WORDS, PRONOUNS, base_form, word_list

MONTHS = word_list("months")
_KEPT = (
    frozenset(MONTHS)
    | {word.capitalize() for word in PRONOUNS}
    | {"The", "A", "An", "In", "On", "At", "His", "Her", "Its"}
)
_ONSETS, _VOWELS, _CODAS = (word_list(part) for part in ("onsets", "vowels", "codas"))


@dataclass(frozen=True)
class Lexicon:
    """Words of the training articles: names seen capitalised, common words, the most frequent ones."""

    names: tuple[str, ...]
    common: tuple[str, ...]
    frequent: frozenset[str]


def build_lexicon(sentences: Iterable[str]) -> Lexicon:
    """Count the words of `sentences`; words of three letters or fewer are left out of the lists."""
    lowered: Counter[str] = Counter()
    capitalised: Counter[str] = Counter()
    for sentence in sentences:
        for word in re.findall(r"[A-Za-z]+", sentence)[1:]:
            (capitalised if word[0].isupper() else lowered)[word] += 1
    frequent = frozenset(word for word, _ in lowered.most_common(150))
    common = tuple(sorted(w for w, n in lowered.items() if len(w) > 3 and n >= 2 and w not in frequent))
    return Lexicon(tuple(sorted(w for w in capitalised if len(w) > 3)), common, frequent)


class EntityMixer:
    """Invents names and years, and swaps those of a text consistently."""

    def __init__(self, lexicon: Lexicon, rng: random.Random) -> None:
        self.lexicon = lexicon
        self._rng = rng

    def invented_word(self) -> str:
        """A pronounceable word that no lexicon holds."""
        rng, syllables = self._rng, self._rng.choice((1, 2, 2, 2, 3))
        parts = []
        for index in range(syllables):
            coda = rng.choice(_CODAS) if index == syllables - 1 or rng.random() < 0.3 else ""
            parts.append(rng.choice(_ONSETS) + rng.choice(_VOWELS) + coda)
        return "".join(parts)

    def name(self) -> str:
        """One capitalised word: invented, from the articles, or a common word used as a name."""
        draw = self._rng.random()
        if draw < 0.45:
            return self.invented_word().capitalize()
        if draw < 0.8:
            return self._rng.choice(self.lexicon.names)
        return self._rng.choice(self.lexicon.common).capitalize()

    def year(self) -> str:
        """A year between 1000 and 2024, recent ones more often."""
        return str(self._rng.choice((self._rng.randint(1000, 2024), self._rng.randint(1800, 2024))))

    def mix(self, sentences: list[str], topic: str, names: float = 0.8, words: float = 0.3) -> tuple[list[str], str]:
        """Swap words in a passage and its topic, each word everywhere by the same other.

        Args:
            sentences: the passage.
            topic: the article's name, swapped along.
            names: how likely a capitalised word is swapped.
            words: how likely a rare lower-case word is swapped.
        """
        swap = _Swap(self, self._rng, "\n".join(sentences), names=names, words=words)
        return [swap.apply(sentence) for sentence in sentences], swap.apply(topic)


class _Swap:
    """The consistent replacement within one passage."""

    def __init__(self, mixer: EntityMixer, rng: random.Random, text: str, names: float, words: float) -> None:
        self._mixer, self._rng = mixer, rng
        self._names, self._words = names, words
        self._lowered = set(re.findall(r"\b[a-z]+\b", text))
        self._known: dict[str, str] = {}

    def apply(self, text: str) -> str:
        text = re.sub(r"\b[A-Z][a-z]+\b", lambda match: self._swapped(match[0], self._swap_name), text)
        text = re.sub(r"\b\d+\b", lambda match: self._swapped(match[0], self._swap_number), text)
        return re.sub(r"\b[a-z]+\b", lambda match: self._swapped(match[0], self._swap_word), text)

    def _swapped(self, word: str, swap: Callable[[str], str]) -> str:
        if word not in self._known:
            self._known[word] = swap(word)
        return self._known[word]

    def _swap_name(self, word: str) -> str:
        lowered = word.lower()
        if word in _KEPT or lowered in self._mixer.lexicon.frequent | FUNCTION_WORDS or lowered in self._lowered:
            return word
        return self._mixer.name() if self._rng.random() < self._names else word

    def _swap_number(self, word: str) -> str:
        if len(word) == 4:
            return self._mixer.year()
        return str(self._rng.randint(10 ** (len(word) - 1), 10 ** len(word) - 1)) if len(word) < 6 else word

    def _swap_word(self, word: str) -> str:
        is_rigid = len(word) < 5 or word in self._mixer.lexicon.frequent | FUNCTION_WORDS or base_form(word)
        if is_rigid or word.endswith(("ed", "ly")) or self._rng.random() >= self._words:
            return word
        return self._rng.choice(self._mixer.lexicon.common) if self._rng.random() < 0.7 else self._mixer.invented_word()
