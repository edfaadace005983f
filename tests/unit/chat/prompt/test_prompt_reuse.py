"""How much of each prompt the engine has read before, over long conversations."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from server.chat.prompt.prompt import Prompt, PromptBuilder
from server.chat.records.turn_records import Source, Turn, Usage
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer, words

TOKENIZER = chat_tokenizer("ordinary")


def conversation(
    num_turns: int,
    window: int,
    max_new_tokens: int,
    passage_part: float,
    *,
    recorded: bool,
    max_turns: int | None = None,
) -> Iterator[tuple[Prompt, tuple[int, ...], list[Turn]]]:
    """Each prompt, with the reply's ids, and the turns that stood before it."""
    rng = random.Random(7)
    builder = PromptBuilder(TOKENIZER, window, 384)
    turns: list[Turn] = []
    for number in range(1, num_turns + 1):
        passages = [f"{words(rng, 20, 40)}. {words(rng, 20, 40)}."] if rng.random() < passage_part else []
        question = words(rng, 4, 20)
        known = turns[-(max_turns or num_turns) :]
        prompt = builder.build(0.0, known, passages, question, max_new_tokens)
        reply = TOKENIZER.encode(f" {words(rng, 10, 50)}.")[:max_new_tokens]
        yield prompt, tuple(reply), known
        usage = Usage(
            prompt_tokens=len(prompt.token_ids),
            dropped_turns=prompt.num_dropped_turns,
            passage_tokens=prompt.num_passage_tokens,
        )
        sources = tuple(Source("t", passage, 0.5, "d") for passage in passages)
        text = TOKENIZER.decode(reply).strip()
        turns.append(Turn(number, question, text, "stop", 0.0, sources, usage=usage if recorded else Usage()))


def num_common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    return next((place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))


@pytest.mark.parametrize(("window", "max_new_tokens"), [(2048, 256), (1024, 96)])
def test_over_500_turns_most_prompt_tokens_repeat_the_prompt_before(window: int, max_new_tokens: int) -> None:
    before: tuple[int, ...] = ()
    num_prompt, num_reused = 0, 0
    for prompt, reply, known in conversation(
        500, window, max_new_tokens, 0.5, recorded=True, max_turns=window // 8
    ):  # fmt: skip
        assert len(prompt.token_ids) + max_new_tokens <= window
        assert not known or known[-1].turn - prompt.num_dropped_turns >= 1
        num_prompt += len(prompt.token_ids)
        num_reused += num_common(before, prompt.token_ids)
        before = prompt.token_ids + reply
    assert num_reused >= 0.7 * num_prompt, num_reused / num_prompt


def test_the_start_of_the_history_moves_in_steps() -> None:
    starts = [prompt.num_dropped_turns for prompt, _, _ in conversation(120, 2048, 256, 0.0, recorded=True)]
    moves = [after - before for before, after in pairwise(starts) if after != before]
    assert starts == sorted(starts)
    assert len(moves) >= 5
    assert min(moves) >= 4


def test_a_client_that_brings_its_own_history_gets_the_same_prompts() -> None:
    stored = conversation(60, 1024, 96, 0.0, recorded=True)
    brought = conversation(60, 1024, 96, 0.0, recorded=False)
    for (prompt, _, _), (same, _, _) in zip(stored, brought, strict=True):
        assert same == prompt


def test_a_very_long_history_is_read_from_a_start_that_moves_in_steps() -> None:
    rng = random.Random(8)
    turns = [Turn(number, words(rng, 2, 4), "yes", "stop", 0.0) for number in range(1, 400)]
    builder = PromptBuilder(TOKENIZER, 128, 0)
    before: tuple[int, ...] = ()
    num_prompt, num_reused = 0, 0
    for number in range(300, 400):
        prompt = builder.build(0.0, turns[:number], [], "why", 16)
        num_prompt += len(prompt.token_ids)
        num_reused += num_common(before, prompt.token_ids)
        before = prompt.token_ids
    assert num_reused > 0.5 * num_prompt
