"""Invented passages: short facts about invented people, places and things, with questions like those on real text."""

from __future__ import annotations

import random

from container.demo.data.entities import MONTHS, EntityMixer
from container.demo.data.words import word_list

_TRADES, _THINGS, _KINDS = (word_list(name) for name in ("trades", "things", "kinds"))


class SyntheticPassages:
    """Writes passages of one to five facts about one to three invented subjects."""

    def __init__(self, mixer: EntityMixer, rng: random.Random) -> None:
        self._mixer = mixer
        self._rng = rng

    def passage(self, most_sentences: int = 4) -> tuple[list[str], str]:
        """The sentences of a passage and the subject of its first one."""
        rng = self._rng
        count = rng.randint(1, most_sentences)
        subjects = [self._subject() for _ in range(rng.randint(1, min(count, 3)))]
        order = sorted(rng.randrange(len(subjects)) for _ in range(count))
        if rng.random() < 0.3:
            rng.shuffle(order)
        sentences: list[str] = []
        previous, used = -1, set[tuple[int, int]]()
        for index in order:
            name, is_person = subjects[index]
            fact = self._unused_fact(index, name, is_person, used=used)
            if index == previous and fact.startswith(name + " ") and rng.random() < 0.3:
                fact = (rng.choice(("He", "She")) if is_person else "It") + fact[len(name) :]
            sentences.append(fact)
            previous = index
        return sentences, subjects[order[0]][0]

    def _subject(self) -> tuple[str, bool]:
        rng, mixer = self._rng, self._mixer
        if rng.random() < 0.5:
            return (f"{mixer.name()} {mixer.name()}" if rng.random() < 0.6 else mixer.name()), True
        if rng.random() < 0.6:
            return mixer.name(), False
        words = f"{rng.choice(mixer.lexicon.common)} {rng.choice(mixer.lexicon.common)}"
        return (f"The {words}" if rng.random() < 0.5 else words.capitalize()), False

    def _unused_fact(self, index: int, name: str, is_person: bool, used: set[tuple[int, int]]) -> str:
        facts = self._person_facts(name) if is_person else self._thing_facts(name)
        free = [number for number in range(len(facts)) if (index, number) not in used] or list(range(len(facts)))
        number = self._rng.choice(free)
        used.add((index, number))
        return facts[number]

    def _phrase(self) -> str:
        return " ".join(self._rng.choice(self._mixer.lexicon.common) for _ in range(self._rng.randint(1, 3)))

    def _person_facts(self, name: str) -> list[str]:
        rng, mixer, phrase = self._rng, self._mixer, self._phrase
        place, year, trade, thing = mixer.name(), mixer.year(), rng.choice(_TRADES), rng.choice(_THINGS)
        other = f"{mixer.name()} {mixer.name()}"
        return [
            f"{name} was born in {place} in {year}.",
            f"{name} was born on {rng.randint(1, 28)} {rng.choice(MONTHS)} {year} in {place}.",
            f"{name} is {_article(rng.choice(_KINDS))} {trade} from {place}.",
            f"{name} was {_article(rng.choice(_KINDS))} {trade} who lived in {place}.",
            f"{name} was a {trade} and {rng.choice(_TRADES)}, known for {phrase()} and {phrase()}.",
            f"{name} died in {place} in {year}.",
            f"{name} wrote the book {mixer.name()} {mixer.name()} about {phrase()}.",
            f"{name} married {other} in {year}.",
            f"{name} moved to {place} in {year} and worked there as {_article(trade)}.",
            f"{name} studied {phrase()} at {place}.",
            f"{name} was known as the {rng.choice(_KINDS)} {thing} of {place}.",
            f"{name} discovered {phrase()} near {place}.",
            f"{name} won the {place} prize for {phrase()}.",
            f"{name} was killed by {other} near {place}.",
            f"{name} became {_article(trade)} in {year}.",
            f"In {year}, {name} {rng.choice(('visited', 'left', 'founded'))} {place} and sold the {thing}.",
        ]

    def _thing_facts(self, name: str) -> list[str]:
        rng, mixer, phrase = self._rng, self._mixer, self._phrase
        place, year, thing = mixer.name(), mixer.year(), rng.choice(_THINGS)
        other = f"{mixer.name()} {mixer.name()}"
        inner = name if not name.startswith("The ") else "the " + name[4:]
        return [
            f"{name} is {_article(rng.choice(_KINDS))} {thing} in {place}.",
            f"{name} is a {thing} of {phrase()} and {phrase()}.",
            f"{name} was founded by {other} in {year}.",
            f"{name} is located in {place}, {rng.choice(_KINDS)} of the {thing}.",
            f"{name} is the capital of {place}.",
            f"{name} has {rng.randint(2, 999)} {rng.choice(_THINGS)}s and {_article(rng.choice(_THINGS))}.",
            f"{name} was built in {year} by {other}.",
            f"{name} contains {phrase()} and {phrase()}.",
            f"{name} is known for {phrase()}.",
            f"{name} is used for {phrase()} in {place}.",
            f"{name} was invented by {other}.",
            f"{name} is made from {phrase()} and {phrase()}.",
            f"{name} consists of {phrase()}, {phrase()} and {phrase()}.",
            f"The {thing} of {inner} is called {mixer.name()}.",
            f"{name} is the study of {phrase()}.",
            f"In {year}, {inner} was {rng.choice(('sold to', 'taken by', 'given to'))} {other}.",
        ]


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
