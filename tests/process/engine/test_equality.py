"""float32 and greedy: whatever the scheduler makes of it, the tokens are those of transformers' own `generate`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from server import wire
from tests.process.engine.engine_group import EngineGroup
from tests.process.engine.small_models import VOCAB_SIZE, WINDOW, greedy, log_probs, make

# Steps of few tokens cut prompts into chunks; few blocks make the scheduler preempt.
SETTINGS = {
    "OCK_DTYPE": "float32",
    "OCK_MAX_STEP_TOKENS": "24",
    "OCK_MAX_RUNNING": "8",
    "OCK_KV_CACHE_TOKENS": str(2 * WINDOW + 32),
    "OCK_BLOCK_TOKENS": "8",
}
LENGTHS = (1, 2, 7, 8, 9, 31, 64, WINDOW - 9, WINDOW - 1)


@dataclass(frozen=True)
class Served:
    group: EngineGroup
    model: PreTrainedModel


@pytest.fixture(
    scope="module",
    params=[
        *(("neox", 1, "off"), ("neox", 2, "off"), ("neox", 4, "off"), ("neox_sequential", 2, "off")),
        *(("gptj", 1, "off"), ("gptj", 2, "off"), ("gptj", 4, "off")),
        *(("neox", 2, "on"), ("gptj", 2, "on")),
        ("llama", 2, "off"),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}{'-overlapped' if param[2] == 'on' else ''}",
)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    kind, world, overlap = request.param
    folder: Path = tmp_path_factory.mktemp(f"{kind}-{world}")
    model = make(kind, folder / "model")
    group = EngineGroup(folder / "model", world, folder / "run", OCK_OVERLAP=overlap, **SETTINGS)
    try:
        group.wait_ready()
        yield Served(group, model)
    finally:
        group.close()


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return random.Random(length * 1000 + seed).choices(range(1, VOCAB_SIZE), k=length)


def room_of(length: int) -> int:
    return min(8, WINDOW - length)


def test_a_prompt_of_any_length_alone_gives_the_tokens_of_generate(served: Served) -> None:
    for length in LENGTHS:
        prompt = prompt_of(length)
        tokens, end = served.group.reply(prompt, room_of(length))
        assert tokens == greedy(served.model, prompt, room_of(length)), length
        assert end.num_prompt_tokens == length


def test_prompts_in_one_batch_under_preemption_give_the_tokens_of_generate(served: Served) -> None:
    lengths = [*LENGTHS, *(30 + 3 * index for index in range(6))]  # together more than the blocks hold
    prompts = [prompt_of(length, seed=1) for length in lengths]
    rooms = [WINDOW - length if 30 <= length < 60 else room_of(length) for length in lengths]
    replies = served.group.replies(prompts, rooms)
    expected = [greedy(served.model, prompt, room) for prompt, room in zip(prompts, rooms, strict=True)]
    assert replies == expected
    served.group.wait_status(lambda status: status.preemptions > 0)


def test_without_reuse_and_with_it_the_tokens_are_the_same(served: Served) -> None:
    prompt = prompt_of(50, seed=9)
    first, new = served.group.reply(prompt, 8)
    again, reused = served.group.reply(prompt, 8)
    assert (new.num_cached_tokens, reused.num_cached_tokens > 0) == (0, True)
    assert first == again == greedy(served.model, prompt, 8)


def test_a_turn_that_reuses_the_keys_of_the_turn_before_gives_the_tokens_of_generate(served: Served) -> None:
    first = prompt_of(40, seed=2)
    reply, _ = served.group.reply(first, 8)
    second = [*first, *reply, *prompt_of(12, seed=3)]
    tokens, end = served.group.reply(second, 8)
    assert end.num_cached_tokens >= 40
    assert tokens == greedy(served.model, second, 8)


def test_log_probabilities_of_labels_equal_the_model_s_own_to_1e_4(served: Served) -> None:
    prefix, text, closing = prompt_of(20, seed=4), prompt_of(15, seed=5), prompt_of(3, seed=6)
    candidates = ((5, 6, 7), (5, 6, 9), (5, 30), (200,), (201, 5, 6, 8))
    request = wire.Score("score", "input_moderation", tuple(prefix), tuple(text), tuple(closing), candidates)
    for _ in range(2):  # the second finds the prefix's keys in their blocks
        scored = served.group.client.score([request])[0]
        context = [*prefix, *text, *closing]
        for candidate, found in zip(candidates, scored.log_probs[0], strict=True):
            assert list(found) == pytest.approx(log_probs(served.model, context, candidate), abs=1e-4)


@pytest.mark.parametrize("kind", ["llama_tied"])
def test_three_ranks_give_the_tokens_of_generate(kind: str, tmp_path: Path) -> None:
    """Once and short: ranks that wait for each other by spinning are slow where they share cores."""
    model = make(kind, tmp_path / "model")
    group = EngineGroup(tmp_path / "model", 3, tmp_path / "run", scores=False, **SETTINGS)
    try:
        group.wait_ready()
        prompts = [prompt_of(length, seed=7) for length in (5, 31, 64)]
        assert group.replies(prompts, [6] * 3) == [greedy(model, prompt, 6) for prompt in prompts]
    finally:
        group.close()
