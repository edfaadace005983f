"""Steps that overlap say what steps that do not say: sampled, penalised, stopped and classified."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from server import wire
from tests.process.engine.engine_group import EngineGroup
from tests.process.engine.small_models import VOCAB_SIZE, make

PROMPTS = [random.Random(seed).choices(range(1, VOCAB_SIZE), k=12 + seed) for seed in range(3)]
SAMPLINGS = (
    wire.Sampling(max_new_tokens=14),
    wire.Sampling(max_new_tokens=14, repetition_penalty=1.8),
    wire.Sampling(max_new_tokens=14, do_sample=True, temperature=1.5, seed=7),
    wire.Sampling(max_new_tokens=14, do_sample=True, top_k=9, top_p=0.9, repetition_penalty=1.3, seed=8),
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


def test_overlapped_steps_say_what_steps_one_by_one_say(tmp_path: Path) -> None:
    make("neox", tmp_path / "model")
    heard = {}
    for overlap in ("off", "on"):
        settings = {"OCK_DTYPE": "float32", "OCK_OVERLAP": overlap}
        group = EngineGroup(tmp_path / "model", 2, tmp_path / overlap, **settings)
        try:
            group.wait_ready()
            free = said(group)
            word = free[0][0].split("w")[3]  # in the middle of a reply, over a token's border
            heard[overlap] = free, said(group, (f"w{word}",)), classified(group)
            group.wait_status(lambda status: status.num_running == 0)
            assert group.client.status is not None
            free_blocks, blocks = group.client.status.free_blocks, group.client.status.total_blocks
            assert free_blocks["chat"] == blocks["chat"]
        finally:
            group.close()
    (free, stopped, scores), (free_on, stopped_on, scores_on) = heard["off"], heard["on"]
    assert free_on == free
    assert stopped_on == stopped
    assert any(reason == "stop" for _, reason, _ in stopped)
    assert len({text for text, _, _ in free}) > len(PROMPTS), "sampling makes a difference"
    for found, expected in zip(scores_on, scores, strict=True):
        for one, other in zip(found, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
