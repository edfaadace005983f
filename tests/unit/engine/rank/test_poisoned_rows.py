"""Numbers that are not finite, wherever among a step's rows they come up, end the reply they belong to and no other."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server import wire
from server.engine.rank.loop import Leader
from server.engine.schedule.step import Step
from server.errors import ErrorCode
from tests.unit.engine.rank.markov import CLIENT, TOKENIZER, Inbox, MarkovRunner, make_leader, run

SAMPLINGS = (
    wire.Sampling(max_new_tokens=24, ignore_eos=True),
    wire.Sampling(max_new_tokens=17, ignore_eos=True, do_sample=True, temperature=0.4, seed=3),
    wire.Sampling(max_new_tokens=20, ignore_eos=True, do_sample=True, top_k=5, top_p=0.9, min_p=0.02, seed=4),
    wire.Sampling(max_new_tokens=9, repetition_penalty=1.1, frequency_penalty=0.3, logprobs=2),
)
PROMPTS = [tuple(TOKENIZER.encode(text).ids) for text in ("Hello there, hello", "abcabcab", "A passage: x", "abc" * 30)]
NUM_STEPS = 30
WAYS: dict[str, dict[str, bool]] = {"plain": {}, "drafted": {"drafts": True}, "overlapping": {"overlaps": True}}


class Poisoned:
    """A runner that makes one number of a segment's rows, in one step, what it should not be."""

    def __init__(self, runner: MarkovRunner, step: int, segment: int, place: int, value: float) -> None:
        self.has_hit = False
        self.is_healed = False
        self._runner, self._step, self._segment, self._place, self._value = runner, step, segment, place, value

    def run(self, step: Step) -> dict[str, torch.Tensor]:
        logits = self._runner.run(step)
        if len(self._runner.steps) == self._step and not self.is_healed:
            counts = [each.num_logits for each in step.model_steps[0].segments]
            first = sum(counts[: self._segment % len(counts)])
            rows = logits["chat"][first : first + counts[self._segment % len(counts)]]
            rows[:, self._place % rows.shape[1]] = self._value
            self.has_hit = len(rows) > 0
        return logits


def ask_all(inbox: Inbox, leader: Leader, prefix: str) -> list[tuple[str, wire.FromEngine | None]]:
    names = [f"{prefix}-{number}" for number in range(len(PROMPTS))]
    for name, prompt, sampling in zip(names, PROMPTS, SAMPLINGS, strict=True):
        leader.take(CLIENT, wire.Generate(name, prompt, sampling))
    run(leader)
    return [(inbox.text_of(name), inbox.end_of(name)) for name in names]


@cache
def healthy_texts() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        leader, inbox, _ = make_leader(Path(folder))
        return [text for text, _ in ask_all(inbox, leader, "healthy")]


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25)
@given(
    step=st.integers(1, NUM_STEPS),
    segment=st.integers(0, 3),
    place=st.integers(0, 1000),
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
)
def test_only_the_reply_whose_row_was_hit_fails_and_asked_again_it_is_well(
    way: str, step: int, segment: int, place: int, value: float
) -> None:
    wrapped: list[Poisoned] = []

    def wrap(runner: MarkovRunner) -> Poisoned:
        wrapped.append(Poisoned(runner, step, segment, place=place, value=value))
        return wrapped[0]

    with tempfile.TemporaryDirectory() as folder:
        leader, inbox, _ = make_leader(Path(folder), wrap=wrap, **WAYS[way])
        found = ask_all(inbox, leader, "first")
        failed = [number for number, (_, end) in enumerate(found) if isinstance(end, wire.Failed)]
        assert len(failed) <= wrapped[0].has_hit
        assert way == "overlapping" or len(failed) == wrapped[0].has_hit
        for number, (text, end) in enumerate(found):
            if number in failed:
                assert isinstance(end, wire.Failed)
                assert end.code is ErrorCode.INTERNAL
                assert healthy_texts()[number].startswith(text)
            else:
                assert text == healthy_texts()[number]
            ends = [each for each in inbox.of(f"first-{number}") if isinstance(each, wire.Finished | wire.Failed)]
            assert len(ends) == 1
        wrapped[0].is_healed = True
        assert [text for text, _ in ask_all(inbox, leader, "second")] == healthy_texts()
