"""A first look at some sentences together, by the first word of each label, decides what is taken apart."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.parts import ReplySpan, Screen, screen_span, screen_text
from server.chat.moderation.policy import Policy, Role
from server.chat.moderation.policy_file import load_policy
from server.errors import ServiceError

POLICY = load_policy()
EVERYTHING = replace(POLICY, screen=0.0)
HARMLESS = [
    f"Sentence number {word} is plain."
    for word in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
]
LONG = " ".join([*HARMLESS, *(each.replace("Sentence", "Line") for each in HARMLESS)])
THREAT = "I will kill you."


class Words:
    """A tokenizer of words with the blank before them."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        return [self._ids.setdefault(word, len(self._ids)) for word in re.findall(r" ?\w+|\s|[^\w\s]", text)]

    def decode(self, ids: Sequence[int]) -> str:
        words = list(self._ids)
        return "".join(words[each] for each in ids)


class Diluted:
    """A judge that finds a threat less likely the more words stand around it; all by the words of labels."""

    def __init__(self, words: Words, value: float | None = None) -> None:
        self.words = words
        self.requests: list[wire.Score] = []
        self.num_tokens = 0
        self._value = value

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        return [self._score(request) for request in requests]

    def _score(self, request: wire.Score) -> wire.Scored:
        self.requests.append(request)
        texts = (request.text, *request.parts)
        self.num_tokens += sum(map(len, texts))
        return wire.Scored(request.request_id, tuple(self._window(request, each) for each in texts), 1, 0)

    def _window(self, request: wire.Score, text: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
        said = self.words.decode(text)
        share = min(0.95, 8 * said.count("kill") / len(said.split())) if "kill" in said else 0.001
        return tuple(tuple(self._log_probs(candidate, share)) for candidate in request.candidates)

    def _log_probs(self, candidate: tuple[int, ...], share: float) -> list[float]:
        of = {" casual": 1 - share, " needs": share, " caution": 0.1, " intervention": 0.9}
        found = [self.words.decode([token]) for token in candidate]
        probabilities = [of.get(word, 1.0 if word == "\n" else 0.0001) for word in found]
        return [math.log(each) if self._value is None else self._value for each in probabilities]


def judged_by(policy: Policy, value: float | None = None) -> tuple[Moderator, Diluted]:
    engine = Diluted(Words(), value)
    classifier = Classifier.of("input_moderation", engine.words, policy)
    return Moderator(engine, policy, {Role.INPUT: classifier, Role.OUTPUT: classifier}), engine


def test_a_harmless_text_is_looked_at_in_packs_and_not_taken_apart() -> None:
    text = LONG
    moderator, engine = judged_by(POLICY)
    [verdict] = moderator.judge([text], Role.INPUT)
    main, looks = engine.requests
    assert (verdict.label, verdict.blocked) == ("casual", False)
    assert set(verdict.scores) == set(POLICY.labels)
    assert len(main.candidates) == 5
    assert {len(candidate) for candidate in looks.candidates} == {1}
    assert len((looks.text, *looks.parts)) == 1 + 1
    everything, other = judged_by(EVERYTHING)
    everything.judge([text], Role.INPUT)
    assert engine.num_tokens < 0.75 * other.num_tokens


def test_a_single_sentence_is_one_request_whatever_it_says() -> None:
    for text, blocked in ((HARMLESS[0], False), (THREAT, True)):
        moderator, engine = judged_by(POLICY)
        assert [each.blocked for each in moderator.judge([text], Role.INPUT)] == [blocked]
        assert len(engine.requests) == 1


@given(st.integers(0, 10), st.integers(0, 10), st.booleans())
def test_what_is_blocked_with_every_sentence_judged_is_blocked_with_a_first_look(
    place: int, length: int, of_reply: bool
) -> None:
    sentences = HARMLESS[:length]
    sentences.insert(min(place, length), THREAT)
    text = " ".join(sentences)
    for policy in (POLICY, EVERYTHING):
        moderator, _ = judged_by(policy)
        if of_reply:
            assert moderator.judge_reply(ReplySpan(text, (), text, "What is it?"), 5.0).blocked
        else:
            assert [each.blocked for each in moderator.judge([text], Role.INPUT)] == [True]


@pytest.mark.parametrize("text", [HARMLESS[0], LONG])
def test_without_finite_scores_a_first_look_lets_nothing_pass(text: str) -> None:
    moderator, _ = judged_by(POLICY, math.nan)
    with pytest.raises(ServiceError, match="cannot be judged"):
        moderator.judge([text], Role.INPUT)
    with pytest.raises(ServiceError, match="cannot be judged"):
        moderator.judge_reply(ReplySpan(text, (), None, "What is it?"), 5.0)


def test_labels_that_begin_alike_are_told_apart_by_all_their_words() -> None:
    labels = ("kind a", "kind b")
    rules = {role: replace(POLICY.rule(role), block=("kind b",)) for role in Role}
    examples = tuple(replace(each, label="kind a") for each in POLICY.examples)
    policy = replace(POLICY, labels=labels, severity=labels, examples=examples, rules=rules)
    moderator, engine = judged_by(policy)
    moderator.judge([" ".join(HARMLESS)], Role.INPUT)
    assert [len(each.candidates[0]) for each in engine.requests] == [3]


def test_a_label_that_asks_for_care_is_looked_for_too() -> None:
    rules = {role: replace(POLICY.rule(role), block=(), caution=("needs intervention",)) for role in Role}
    moderator, _ = judged_by(replace(POLICY, rules=rules))
    [verdict] = moderator.judge([" ".join([*HARMLESS[:4], THREAT, *HARMLESS[4:]])], Role.INPUT)
    assert verdict.caution


def test_a_reply_is_looked_at_behind_its_question_with_what_it_follows() -> None:
    span = ReplySpan("Yes, do it tonight.", ("It is late.", "You are tired."), None, "I am sad. Should I?")
    found = screen_span(span)
    assert (found.main, found.others) == (None, ("Should I? It is late. You are tired. Yes, do it tonight.",))
    whole = screen_span(replace(span, whole="It is late. You are tired. Yes, do it tonight."))
    assert (whole.main, whole.others) == ("Should I? It is late. You are tired. Yes, do it tonight.", ())


def looked_at(screen: Screen) -> list[str]:
    return [each for each in (screen.main, *screen.others) if each is not None]


@given(st.lists(st.sampled_from([*HARMLESS, THREAT, "Well.", "word " * 70 + "end."]), min_size=1, max_size=12))
def test_every_sentence_stands_in_a_look_of_few_words(sentences: list[str]) -> None:
    looks = looked_at(screen_text(" ".join(sentences)))
    for sentence in sentences:
        words = sentence.split()
        pieces = [" ".join(words[at : at + 8]) for at in range(max(1, len(words) - 7))]
        assert all(any(piece in look and len(look.split()) <= 60 for look in looks) for piece in pieces)
