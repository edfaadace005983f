"""A second judge, whose log-odds count with the model's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.parts import ReplySpan, parts_to_judge
from server.chat.moderation.policy import Policy, Role, SecondRule
from server.chat.moderation.policy_file import DEFAULT_POLICY, PolicyError, load_policy
from server.chat.moderation.second_judge import open_second_judge
from server.errors import ErrorCode, ServiceError
from server.retrieval.encoder.shared import Encoders
from server.retrieval.encoder.source import SAMPLE
from server.retrieval.encoder.text_classifier import DIRECTION, MADE_FOR, OFFSET, TextClassifier, digest
from server.retrieval.retriever import RetrievalError
from tests.unit.chat.moderation.moderation_doubles import Bytes

RULE = SecondRule("both", Path("sentences.safetensors"), share=0.5, lean=-1.0, asked_from=0.02, asked_of_runs=0.02)
POLICY = replace(load_policy(), second=RULE, sentences=0.6, runs=0.9)


class Unsure:
    """A model that gives its worst label a share for each text, by a word in it."""

    SHARES = ("calm", 0.001), ("doubtful", 0.1), ("likely", 0.9)

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        return [wire.Scored(each.request_id, tuple(self._windows(each)), 1, 0) for each in requests]

    def _windows(self, request: wire.Score) -> Iterator[tuple[tuple[float, ...], ...]]:
        for text in (request.text, *request.parts):
            yield self._window(request, bytes(text).decode())

    def _window(self, request: wire.Score, text: str) -> tuple[tuple[float, ...], ...]:
        share = max(value for word, value in self.SHARES if word in text)
        of = {b" casual\n": 1 - share, b" needs intervention\n": share}
        return tuple(
            tuple(math.log(of.get(bytes(candidate), 1e-6)) / len(candidate) for _ in candidate)
            for candidate in request.candidates
        )


class Says:
    """A second judge that has one opinion of everything."""

    def __init__(self, opinion: float, rule: SecondRule = RULE) -> None:
        self.rule = rule
        self.asked: list[list[str]] = []
        self._opinion = opinion

    def log_odds(self, texts: Sequence[str], end: float | None = None) -> list[float]:
        self.asked.append(list(texts))
        return [self._opinion] * len(texts)


def judged_by(second: Says, policy: Policy = POLICY) -> Moderator:
    classifier = Classifier.of("m", Bytes(), policy)
    return Moderator(Unsure(), policy, {Role.INPUT: classifier}, second=second)


@pytest.mark.parametrize(
    ("text", "opinion", "blocked"),
    [
        ("Something doubtful", 10.0, True),  # log(1/9) + 10/2 - 1 > 0
        ("Something doubtful", 6.0, False),
        ("Something likely", 0.0, True),  # log(9) - 1 > 0
        ("Something likely", -6.0, False),
        ("Something calm", 30.0, False),  # nobody asks
    ],
)
def test_the_log_odds_of_both_are_added(text: str, opinion: float, blocked: bool) -> None:
    [verdict] = judged_by(Says(opinion)).judge([text], Role.INPUT)
    assert (verdict.blocked, verdict.judge) == (blocked, "model" if "calm" in text else "both")
    assert (verdict.label == "needs intervention") is blocked
    if "calm" not in text:
        share = verdict.scores["needs intervention"]
        of_model = dict(Unsure.SHARES)[text.split()[1]]
        expected = math.log(of_model / (1 - of_model)) + 0.5 * opinion - 1.0
        assert math.log(share / (1 - share)) == pytest.approx(expected, abs=0.01)


def test_all_doubtful_parts_of_all_texts_are_asked_about_at_once_and_no_others() -> None:
    texts = ["One is calm. Two is doubtful. Three is calm.", "Four is likely.", "Five is calm."]
    second = Says(0.0)
    judged_by(second).judge(texts, Role.INPUT)
    [asked] = second.asked
    expected = [part for text in texts for part in parts_to_judge(text) if "doubtful" in part or "likely" in part]
    assert asked == expected


def test_of_several_sentences_together_those_are_asked_about_that_reach_a_share_of_their_own() -> None:
    second = Says(0.0, replace(RULE, asked_of_runs=0.5))
    judged_by(second, replace(POLICY, second=second.rule)).judge(
        ["One is doubtful. Two is doubtful.", "Three is likely. Four is calm."], Role.INPUT
    )
    [asked] = second.asked
    assert asked == ["One is doubtful.", "Two is doubtful.", "Three is likely. Four is calm.", "Three is likely."]


@pytest.mark.parametrize("opinion", [math.nan, math.inf, -math.inf])
def test_without_a_finite_number_there_is_no_verdict(opinion: float) -> None:
    moderator = judged_by(Says(opinion))
    with pytest.raises(ServiceError, match="cannot be judged, so it goes no further") as refused:
        moderator.judge(["Something likely"], Role.INPUT)
    assert refused.value.code is ErrorCode.ENGINE_UNAVAILABLE
    with pytest.raises(ServiceError, match="cannot be judged"):
        moderator.judge_reply(ReplySpan("Something likely."), 5.0)


def test_a_reply_is_judged_by_both() -> None:
    for opinion, blocked in ((10.0, True), (-10.0, False)):
        verdict = judged_by(Says(opinion)).judge_reply(ReplySpan("Something doubtful."), 5.0)
        assert (verdict.blocked, verdict.judge) == (blocked, "both")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('encoder = "sample"', "key 'weights' is missing"),
        ('weights = "w"\nshares = 1', "second.shares is unknown; legal are asked_from, asked_of_runs, encoder, lean"),
        ('weights = "w"\nshare = true', "second.share=True: a finite number is needed"),
        ('weights = "w"\nlean = inf', "second.lean=inf: a finite number is needed"),
        ('weights = "w"\nasked_from = 2', "second.asked_from=2: a number from 0 to 1 is needed"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused_by_its_key(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f"{DEFAULT_POLICY.read_text('utf-8')}\n[second]\n{table}\n", "utf-8")
    with pytest.raises(PolicyError, match=said.replace("(", r"\(")):
        load_policy(path)


def test_a_second_judge_without_an_encoder_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"second\.encoder is missing, and OCK_ENCODER is empty"):
        open_second_judge(POLICY, encoder="")
    assert open_second_judge(load_policy(), encoder="") is None


def test_what_was_read_is_not_read_again_and_a_judge_that_would_be_taught_the_same_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = Encoders()
    encoder = encoders.open(SAMPLE, "cpu")
    weights = tmp_path / "w.safetensors"
    save_file({DIRECTION: torch.ones(384), OFFSET: torch.zeros(1)}, weights, {MADE_FOR: digest(encoder.network)})
    policy = replace(POLICY, second=replace(RULE, weights=weights))
    judge = open_second_judge(policy, SAMPLE, encoders)
    assert judge is not None
    read: list[str] = []
    log_odds = TextClassifier.log_odds

    def reads(classifier: TextClassifier, texts: Sequence[str]) -> NDArray[np.float32]:
        read.extend(texts)
        return log_odds(classifier, texts)

    monkeypatch.setattr(TextClassifier, "log_odds", reads)
    first = judge.log_odds(["one", "two", "one"])
    assert judge.log_odds(["two", "three", "one"])[::2] == first[1::-1]
    assert read == ["one", "two", "three"]

    other = replace(policy, second=replace(RULE, weights=weights, share=9.0))
    after = open_second_judge(other, SAMPLE, encoders, before=judge)
    assert after is not None
    assert (after.rule.share, after._pupil) == (9.0, judge._pupil)
    save_file({DIRECTION: -torch.ones(384), OFFSET: torch.zeros(1)}, weights, {MADE_FOR: digest(encoder.network)})
    changed = open_second_judge(policy, SAMPLE, encoders, before=after)
    assert changed is not None
    assert changed.log_odds(["one"]) == pytest.approx([-first[0]])
    weights.unlink()
    with pytest.raises(RetrievalError, match="No such file"):
        open_second_judge(policy, SAMPLE, encoders, before=changed)
