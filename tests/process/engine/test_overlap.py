"""Overlapping steps and drafted replies say what one token after the other says, however it is chosen or stopped."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from server import wire
from tests.process.engine.engine_group import EngineGroup
from tests.process.engine.small_models import VOCAB_SIZE, make

PROMPTS = [random.Random(seed).choices(range(1, VOCAB_SIZE), k=12 + seed) for seed in range(2)]
PROMPTS.append([5, 6, 7, 8, 9] * 6)
SAMPLINGS = (
    wire.Sampling(max_new_tokens=14),
    wire.Sampling(max_new_tokens=14, repetition_penalty=1.8),
    wire.Sampling(max_new_tokens=14, do_sample=True, temperature=1.5, seed=7),
    wire.Sampling(max_new_tokens=14, do_sample=True, top_k=9, top_p=0.9, repetition_penalty=1.3, seed=8),
    wire.Sampling(max_new_tokens=30, frequency_penalty=0.1, presence_penalty=0.1, min_p=0.1, do_sample=True, seed=9),
    wire.Sampling(max_new_tokens=30, logit_bias=((5, 14.0), (6, 14.0), (7, 13.9))),  # says the same again and again
)


def said(group: EngineGroup, stop: tuple[str, ...] = ()) -> list[tuple[str, str, int]]:
    """Text, reason and length of a reply for every prompt and way of sampling."""
    replies = []
    for number, (prompt, sampling) in enumerate((prompt, each) for prompt in PROMPTS for each in SAMPLINGS):
        sampling = wire.Sampling(
            **{**{name: getattr(sampling, name) for name in sampling.__struct_fields__}, "stop": stop}
        )
        pieces, end = [], None
        for message in group.client.generate(wire.Generate(f"{stop}-{number}", tuple(prompt), sampling)):
            if isinstance(message, wire.Finished):
                end = message
            else:
                pieces.append(message.text)
        assert end is not None
        replies.append(("".join(pieces), end.reason, end.num_new_tokens))
    return replies


def classified(group: EngineGroup) -> tuple[tuple[tuple[float, ...], ...], ...]:
    prefix, closing = tuple(PROMPTS[0]), (3, 4)
    requests = [
        wire.Score(f"score-{number}", "input_moderation", prefix, tuple(text), closing, ((5, 6), (5, 7, 8), (9,)))
        for number, text in enumerate(PROMPTS)
    ]
    return tuple(scored.log_probs[0] for scored in group.client.score(requests))


def test_overlapped_steps_and_drafted_replies_say_what_steps_one_by_one_say(tmp_path: Path) -> None:
    make("neox", tmp_path / "model")
    heard = {}
    for way, overlap, speculation in (("off", "off", "off"), ("on", "on", "auto"), ("drafted", "off", "auto")):
        settings = {"OCK_DTYPE": "float32", "OCK_OVERLAP": overlap, "OCK_SPECULATION": speculation}
        group = EngineGroup(tmp_path / "model", 2, tmp_path / way, **settings)
        try:
            group.wait_ready()
            free = said(group)
            word = free[0][0].split("w")[3]  # in the middle of a reply, over a token's border
            heard[way] = free, said(group, (f"w{word}",)), classified(group)
            group.wait_status(lambda status: status.num_running == 0)
            assert group.client.status is not None
            free_blocks, blocks = group.client.status.free_blocks, group.client.status.total_blocks
            assert free_blocks["chat"] == blocks["chat"]
            assert (group.client.status.accepted_tokens > 0) is (way == "drafted")
        finally:
            group.close()
    free, stopped, scores = heard["off"]
    assert any(reason == "stop" for _, reason, _ in stopped)
    assert len({text for text, _, _ in free}) > len(PROMPTS), "sampling makes a difference"
    for way in ("on", "drafted"):
        free_too, stopped_too, scores_too = heard[way]
        assert free_too == free
        assert stopped_too == stopped
        for found, expected in zip(scores_too, scores, strict=True):
            for one, other in zip(found, expected, strict=True):
                assert one == pytest.approx(other, abs=1e-5)
