"""From questions to the rows that answer them, those of a conversation in the light of what came before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.question_vectors import QuestionVectors
from server.retrieval.index.answer_kind import AskedKind
from server.retrieval.index.antecedent import Antecedents, Told, names_to_find
from server.retrieval.index.inverted_words import NO_WORDS, InvertedWords, WordHits
from server.retrieval.index.lexical_index import LexicalIndex, WordMatch
from server.retrieval.index.manifest import Manifest
from server.retrieval.index.passage_table import PASSAGES_FILE, PassageTable
from server.retrieval.index.relevance import FIRST, FOLLOW_UP, NUM_CANDIDATES, Weights, relevance
from server.retrieval.index.small_talk import SmallTalk
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors
from server.retrieval.index.topic import Topic
from server.retrieval.index.vector_index import INDEX_FILE, VectorIndex
from server.retrieval.query import Exchange

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_EARLIER = 6  # questions of a conversation that are looked at; what was asked before them is no longer the topic
_TOPIC_HITS = 3
_BLOCK_ROWS = 1 << 16
_LEAST_READ = 24  # candidates whose texts are looked into; what is ranked lower does not come first by it
_NAMED = 0.6  # of a question's words in one sentence, a rare one among them: relevant however far the vector is


@dataclass(frozen=True)
class Wanted:
    """A question, those before it, itself written out where somebody has, and how many rows are wanted."""

    text: str
    num_hits: int
    earlier: tuple[Exchange, ...] = ()
    standalone: str | None = None
    required: bool = False
    allowed: NDArray[np.int64] | None = None  # the only rows that may be found; None: any

    @property
    def told(self) -> tuple[Exchange, ...]:
        """As much of the conversation as is looked at."""
        return self.earlier[-MAX_EARLIER:]

    def names(self, language: str) -> tuple[tuple[str, ...], ...]:
        """For each of `told`, the names in its reply that the question after it may point to."""
        after = (*(each.question for each in self.told[1:]), self.text)
        return tuple(
            names_to_find(each.question, each.reply, asked, language)
            for each, asked in zip(self.told, after, strict=False)
        )

    def texts(self, language: str) -> tuple[str, ...]:
        """What has to be encoded."""
        written_out = () if self.standalone is None else (self.standalone,)
        names = (name for names in self.names(language) for name in names)
        return (self.text, *(each.question for each in self.told), *written_out, *names)

    @property
    def num_candidates(self) -> int:
        """How many rows are ranked: the question's own number, so that its result is the same in every batch."""
        return max(NUM_CANDIDATES, self.num_hits)


@dataclass(frozen=True)
class Hits:
    """Rows, most relevant first."""

    scores: NDArray[np.float32]  # [num_hits]
    rows: NDArray[np.int64]  # [num_hits]


@dataclass(frozen=True)
class IndexParts:
    """What is searched: the vectors, the index over them, the words and the texts, all of the same passages."""

    vectors: StoredVectors
    index: VectorIndex
    words: LexicalIndex
    table: PassageTable
    language: str
    inverted: InvertedWords | None  # None in an index that was built before there was one

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> IndexParts:
        """The parts of an index folder. Raises RetrievalError: one is missing or does not fit the others."""
        vectors = StoredVectors(folder / VECTORS_FILE)
        index = VectorIndex(folder / INDEX_FILE, manifest.index, vectors)
        words = LexicalIndex(folder, len(vectors), manifest.passages.language)
        table, language = PassageTable(folder / PASSAGES_FILE), manifest.passages.language
        inverted = InvertedWords.of(folder, len(vectors))
        return cls(vectors, index, words, table=table, language=language, inverted=inverted)

    def named(self, text: str, num_rows: int) -> WordHits:
        """The rows that hold the rarest words of `text`."""
        if self.inverted is None:
            return NO_WORDS
        return self.inverted.find(self.words.terms(text), num_rows)

    def nearest(self, queries: NDArray[np.float32], wanted: Wanted) -> NDArray[np.int64]:
        """The rows nearest to any of the vectors; of few that are allowed, each is compared."""
        if wanted.allowed is None:
            return self.index.search(queries, wanted.num_candidates)[1]
        found = [np.empty(0, np.int64)]
        for start in range(0, len(wanted.allowed), _BLOCK_ROWS):
            rows = np.unique(np.concatenate([found[-1], wanted.allowed[start : start + _BLOCK_ROWS]]))
            order = np.argsort(-(self.vectors.rows(rows) @ queries.T).max(axis=1), kind="stable")
            found.append(rows[order[: wanted.num_candidates]])
        return found[-1]


class Ranking:
    """Finds and ranks. One thread uses it.

    Args:
        score_floor: passages whose cosine similarity to a question is lower are not relevant.
    """

    def __init__(
        self, parts: IndexParts, questions: QuestionVectors, small_talk: SmallTalk, score_floor: float
    ) -> None:
        self._parts = parts
        self._questions = questions
        self._small_talk = small_talk
        self._score_floor = score_floor
        self._antecedents = Antecedents(parts.table, parts.language)

    def find(self, batch: Sequence[Wanted]) -> list[Hits]:
        """All questions encoded at once; those that open a conversation and want equally many searched at once."""
        texts = [text for wanted in batch for text in wanted.texts(self._parts.language)]
        vectors = dict(zip(texts, self._questions.encode(texts), strict=True))
        found: list[Hits | None] = [None] * len(batch)
        openings = [place for place, wanted in enumerate(batch) if not wanted.earlier and wanted.allowed is None]
        for num_candidates in {batch[place].num_candidates for place in openings}:
            places = [place for place in openings if batch[place].num_candidates == num_candidates]
            queries = np.stack([vectors[batch[place].text] for place in places])
            _, rows = self._parts.index.search(queries, num_candidates)
            for number, place in enumerate(places):
                found[place] = self._opening(batch[place], queries[number], rows[number])
        for place, wanted in enumerate(batch):
            if found[place] is None:
                found[place] = self._in_conversation(wanted, vectors)
        return [hits for hits in found if hits is not None]

    def _candidates(self, wanted: Wanted, nearest: NDArray[np.int64]) -> _Candidates:
        named = self._parts.named(wanted.text, NUM_CANDIDATES)
        if wanted.allowed is not None:
            allowed = np.isin(named.rows, wanted.allowed)
            named = WordHits(named.rows[allowed], named.has_rare[allowed])
        return _Candidates.of(nearest, named)

    def _opening(self, wanted: Wanted, vector: NDArray[np.float32], nearest: NDArray[np.int64]) -> Hits:
        """The nearest passages and those with rare words: what is above the floor, or is named, ranked together."""
        candidates = self._candidates(wanted, nearest)
        cosine = self._parts.vectors.rows(candidates.rows) @ vector
        words = self._parts.words.match(wanted.text, candidates.rows)
        relevant = (cosine >= self._score_floor) | wanted.required
        if (candidates.has_rare & ~relevant).any() and not self._small_talk.is_near(vector):
            relevant |= candidates.has_rare & (words.best_sentence >= _NAMED)
        scores = self._scores(wanted, candidates.rows, cosine, words=words, weights=FIRST)
        return _best(scores[relevant], candidates.rows[relevant], wanted.num_hits)

    def _in_conversation(self, wanted: Wanted, vectors: dict[str, NDArray[np.float32]]) -> Hits:
        """The earlier questions are answered anew, which makes the topic: nothing but the conversation decides, whoever
        kept it, and whatever this process has seen.
        """
        if wanted.standalone is not None and (hits := self._written_out(wanted, vectors)) is not None:
            return hits
        told: list[Told] = []
        names: tuple[str, ...] = ()
        for exchange, named in zip(wanted.told, wanted.names(self._parts.language), strict=True):
            question = exchange.question
            topic = self._topic(question, told, [(name, vectors[name]) for name in names])
            hits = self._answer(Wanted(question, _TOPIC_HITS), vectors[question], topic)
            names = named
            if len(hits.rows):
                topic = topic.after(vectors[question], self._parts.vectors.rows(hits.rows))
                told.append(Told(question, exchange.reply, hits.rows, topic))
        topic = self._topic(wanted.text, told, [(name, vectors[name]) for name in names])
        return self._answer(wanted, vectors[wanted.text], topic)

    def _topic(self, question: str, told: list[Told], names: list[tuple[str, NDArray[np.float32]]]) -> Topic:
        """What `question` is about: what was spoken of last, or whom else it points to."""
        if not told:
            return Topic()
        rows = [self._antecedents.named(name, self._near(vector)) for name, vector in names]
        found = self._antecedents.other_than_the_last(question, told, rows)
        if found is None:
            return told[-1].topic
        if isinstance(found, Told):
            return found.topic.alone
        return Topic().after(self._parts.vectors.rows(found[:1])[0], self._parts.vectors.rows(found[:_TOPIC_HITS]))

    def _near(self, vector: NDArray[np.float32]) -> NDArray[np.int64]:  # [num_rows], nearest first
        rows: NDArray[np.int64] = self._parts.index.search(vector[None], NUM_CANDIDATES)[1].ravel()
        return rows

    def _written_out(self, wanted: Wanted, vectors: dict[str, NDArray[np.float32]]) -> Hits | None:
        """What the question written out finds; None where the conversation has to tell."""
        assert wanted.standalone is not None
        if self._small_talk.is_near(vectors[wanted.text]):
            return None
        vector = vectors[wanted.standalone]
        alone = dataclasses.replace(wanted, text=wanted.standalone, earlier=(), standalone=None)
        hits = self._opening(alone, vector, self._parts.nearest(vector[None], alone).ravel())
        return hits if len(hits.rows) else None

    def _answer(self, wanted: Wanted, vector: NDArray[np.float32], topic: Topic) -> Hits:
        if not topic.directions:
            return self._opening(wanted, vector, self._parts.nearest(vector[None], wanted).ravel())
        if not wanted.required and self._small_talk.is_near(vector):
            return Hits(np.empty(0, np.float32), np.empty(0, np.int64))
        return self._follow_up(wanted, vector, topic)

    def _follow_up(self, wanted: Wanted, vector: NDArray[np.float32], topic: Topic) -> Hits:
        """Candidates from the question alone, from the topic and from rare words, ranked together."""
        moved = topic.moved(vector, len(self._parts.words.terms(wanted.text)))
        rows = self._candidates(wanted, self._parts.nearest(np.stack([vector, moved]), wanted)).rows
        cosine = self._parts.vectors.rows(rows) @ moved
        words = self._parts.words.match(wanted.text, rows)
        return _best(self._scores(wanted, rows, cosine, words=words, weights=FOLLOW_UP), rows, wanted.num_hits)

    def _scores(
        self,
        wanted: Wanted,
        rows: NDArray[np.int64],
        cosine: NDArray[np.float32],
        words: WordMatch,
        weights: Weights,
    ) -> NDArray[np.float32]:  # [num_rows]
        """The relevance of rows, of which the best are read for what is asked."""
        scores = relevance(cosine, words, weights)
        asked = AskedKind.of(wanted.text, self._parts.language)
        if asked is None:
            return scores
        best = np.argsort(-scores, kind="stable")[: max(_LEAST_READ, 2 * wanted.num_hits)]
        kind = np.zeros(len(rows), np.float32)
        kind[best] = asked.held_by(self._parts.table.texts(rows[best].tolist()))
        return relevance(cosine, words, weights, kind)


@dataclass(frozen=True)
class _Candidates:
    """Rows to be ranked, ascending, and whether each was found by a rare word."""

    rows: NDArray[np.int64]
    has_rare: NDArray[np.bool_]

    @classmethod
    def of(cls, nearest: NDArray[np.int64], named: WordHits) -> _Candidates:
        rows = np.unique(np.concatenate([nearest[nearest >= 0], named.rows]))
        return cls(rows, np.isin(rows, named.rows[named.has_rare]))


def _best(scores: NDArray[np.float32], rows: NDArray[np.int64], num_hits: int) -> Hits:
    order = np.argsort(-scores, kind="stable")[:num_hits]
    return Hits(scores[order], rows[order])
