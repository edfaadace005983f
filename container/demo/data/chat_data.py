"""Draws training sessions for the demo chat model: copying from passages, small talk, saying that nothing is known."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from container.demo.data.articles import Article, is_clean
from container.demo.data.entities import EntityMixer, Lexicon
from container.demo.data.questions import Question, keyword_question, overlap, questions_about
from container.demo.data.sessions import Turn
from container.demo.data.smalltalk import NO_PASSAGE_REPLY, SmallTalk, retyped
from container.demo.data.synthetic import SyntheticPassages

_LONGEST_PASSAGE = 900  # characters


@dataclass(frozen=True)
class Mix:
    """How often a passage is invented, real with swapped names, or real; the rest of the turns is talk."""

    invented: float = 0.18
    swapped: float = 0.36
    real: float = 0.22
    small_talk: float = 0.20


@dataclass(frozen=True)
class Sourced:
    """A passage with the questions that can be asked over it."""

    passage: str
    questions: list[Question]


class SessionSampler:
    """Draws sessions of one to four turns, reproducibly for a given random generator."""

    def __init__(
        self, articles: Sequence[Article], lexicon: Lexicon, small_talk: SmallTalk, rng: random.Random, mix: Mix
    ) -> None:
        self._windows = Windows(articles, rng)
        self._mixer = EntityMixer(lexicon, rng)
        self._synthetic = SyntheticPassages(self._mixer, rng)
        self._small_talk = small_talk
        self._rng = rng
        self._mix = mix

    def session(self) -> list[Turn]:
        """One to three turns or a few more; questions over one passage may follow each other without repeating it."""
        turns: list[Turn] = []
        wanted = self._rng.choice((1, 1, 1, 2, 2, 3))
        while len(turns) < wanted:
            turns += self._next_turns(is_first=not turns)
        return turns

    def _next_turns(self, is_first: bool) -> list[Turn]:
        draw, mix = self._rng.random(), self._mix
        if draw < mix.invented:
            return self._over(self._invented())
        if draw < mix.invented + mix.swapped:
            return self._over(self._real(is_swapped=True))
        if draw < mix.invented + mix.swapped + mix.real:
            return self._over(self._real(is_swapped=False))
        if draw < mix.invented + mix.swapped + mix.real + mix.small_talk or not is_first:
            return self._talk()
        return self._unknown()

    def _over(self, sourced: Sourced) -> list[Turn]:
        """One to four turns over one passage."""
        chosen = self._rng.sample(sourced.questions, min(len(sourced.questions), self._rng.choice((1, 1, 2, 3, 4))))
        turns: list[Turn] = []
        for question in chosen:
            repeats = not turns or self._rng.random() < 0.15
            turns.append(Turn(self._typed(question.text), question.reply, sourced.passage if repeats else None))
        return turns

    def _typed(self, text: str) -> str:
        return retyped(text, self._rng) if self._rng.random() < 0.2 else text

    def _talk(self) -> list[Turn]:
        """Small talk, two thirds of it behind a passage that has nothing to do with it."""
        turns = []
        for _ in range(self._rng.choice((1, 1, 2))):
            said, reply = self._small_talk.exchange(self._rng)
            passage = None
            if self._rng.random() < 0.65:
                passage = (self._invented() if self._rng.random() < 0.25 else self._real(is_swapped=False)).passage
            turns.append(Turn(said, reply, passage))
        return turns

    def _unknown(self) -> list[Turn]:
        """A question of fact with no passage, opening a session: the model must not invent an answer."""
        source = self._invented() if self._rng.random() < 0.3 else self._real(is_swapped=self._rng.random() < 0.5)
        return [Turn(self._typed(self._rng.choice(source.questions).text), NO_PASSAGE_REPLY)]

    def _invented(self) -> Sourced:
        while True:
            sentences, subject = self._synthetic.passage()
            found = ask(sentences, subject, self._rng)
            if found:
                return Sourced(" ".join(sentences), found)

    def _real(self, is_swapped: bool) -> Sourced:
        while True:
            topic, sentences = self._windows.draw()
            if is_swapped:
                sentences, topic = self._mixer.mix(sentences, topic, words=self._rng.choice((0.2, 0.5)))
            found = ask(sentences, topic, self._rng)
            if found:
                return Sourced(" ".join(sentences), found)


class Windows:
    """Draws runs of sentences from articles, longer sections more often."""

    def __init__(self, articles: Sequence[Article], rng: random.Random) -> None:
        self._sections = [(article, section) for article in articles for section in article.sections]
        self._ends = list(itertools.accumulate(len(section) for _, section in self._sections))
        self._articles = articles
        self._rng = rng

    def draw(self) -> tuple[str, list[str]]:
        """The article's topic and one to six sentences; one time in ten the opening of an article."""
        while True:
            if self._rng.random() < 0.1:
                article = self._rng.choice(self._articles)
                section, start, count = article.sections[0], 0, 3
            else:
                article, section = self._rng.choices(self._sections, cum_weights=self._ends)[0]
                count = self._rng.choice((1, 2, 3, 3, 3, 3, 3, 4, 6))
                start = self._rng.randrange(max(1, len(section) - count + 1))
            sentences = list(section[start : start + count])
            if sum(map(len, sentences)) <= _LONGEST_PASSAGE:
                return article.topic, sentences


def ask(
    sentences: list[str], topic: str, rng: random.Random, held_out_frames: bool = False, is_filtered: bool = True
) -> list[Question]:
    """Questions over a passage that one of its sentences answers best.

    A question that two sentences gave, or that another sentence shares more words with, is left out when `is_filtered`;
    evaluation keeps the latter, since a user would ask them too.
    """
    found: list[Question] = []
    for sentence in sentences:
        if not is_clean(sentence):
            continue
        made = questions_about(sentence, rng, topic, held_out_frames=held_out_frames)
        keyword = None if held_out_frames or rng.random() < 0.75 else keyword_question(sentence, rng)
        found += [*made, keyword] if keyword else made
    texts = [question.text for question in found]
    unique = [question for question in found if texts.count(question.text) == 1]
    return [q for q in unique if _is_best(q, sentences)] if is_filtered else unique


def _is_best(question: Question, sentences: list[str]) -> bool:
    own = overlap(question.text, question.reply)
    return all(overlap(question.text, other) <= own for other in sentences if other != question.reply)
