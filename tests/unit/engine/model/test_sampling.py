"""The next token: as transformers chooses it, and independent of what else is in the batch."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from server.engine.model import sampling as on_device
from server.engine.model.sampling import Draws, SamplingRow
from server.engine.schedule.step import pending_token
from server.wire import Sampling

VOCABULARY = 200


def sample(logits: torch.Tensor, rows: list[SamplingRow]) -> list[int]:
    return on_device.sample(logits, rows).tolist()


def rows(number: int, sampling: Sampling, seed: int = 0) -> list[SamplingRow]:
    chooser = random.Random(seed)
    return [
        SamplingRow(sampling, [chooser.randrange(VOCABULARY) for _ in range(20)], chooser.random())
        for _ in range(number)
    ]


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(64, VOCABULARY, generator=torch.Generator().manual_seed(3)) * 3


def test_greedy_takes_the_maximum(logits: torch.Tensor) -> None:
    assert sample(logits, rows(64, Sampling())) == logits.argmax(-1).tolist()


def test_greedy_takes_the_first_of_equal_maxima() -> None:
    assert sample(torch.tensor([[1.0, 5.0, 5.0]]), rows(1, Sampling())) == [1]


def test_temperature_zero_is_greedy(logits: torch.Tensor) -> None:
    assert sample(logits, rows(64, Sampling(do_sample=True, temperature=0.0))) == logits.argmax(-1).tolist()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(do_sample=True, temperature=0.7),
        Sampling(do_sample=True, top_k=5),
        Sampling(do_sample=True, top_p=0.6),
        Sampling(do_sample=True, temperature=1.3, top_k=40, top_p=0.8, repetition_penalty=1.4),
    ],
)
def test_every_token_drawn_is_one_that_transformers_leaves_possible(logits: torch.Tensor, sampling: Sampling) -> None:
    for attempt in range(10):
        chosen = rows(64, sampling, attempt)
        allowed = _transformers_probabilities(logits, chosen, sampling)
        for row, token in enumerate(sample(logits, chosen)):
            assert allowed[row, token] > 0


def test_draws_follow_the_distribution_that_transformers_computes() -> None:
    sampling = Sampling(do_sample=True, temperature=0.8, top_k=6, top_p=0.95)
    one = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(5)) * 2
    number = 20000
    draws = Draws(11)
    same = [SamplingRow(sampling, [], draws.next()) for _ in range(number)]
    counts = torch.bincount(torch.tensor(sample(one.expand(number, -1), same)), minlength=VOCABULARY) / number
    expected = _transformers_probabilities(one, same[:1], sampling)[0]
    assert (counts - expected).abs().max() < 0.015


def test_a_row_draws_the_same_token_alone_and_in_any_batch(logits: torch.Tensor) -> None:
    mixed = [
        rows(1, Sampling(do_sample=index % 2 == 0, temperature=0.5 + index / 50, top_k=index % 7), index)[0]
        for index in range(64)
    ]
    together = sample(logits, mixed)
    alone = [sample(logits[index : index + 1], [row])[0] for index, row in enumerate(mixed)]
    assert together == alone


def test_a_seed_gives_the_same_draws() -> None:
    first, second, other = Draws(7), Draws(7), Draws(8)
    drawn = [first.next() for _ in range(5)]
    assert drawn == [second.next() for _ in range(5)]
    assert drawn != [other.next() for _ in range(5)]


def test_the_last_possible_draw_does_not_leave_the_allowed_tokens() -> None:
    logits = torch.tensor([[0.0, 10.0, 9.0, -50.0]])
    row = SamplingRow(Sampling(do_sample=True, top_k=2), [], 1.0 - 2**-53)
    assert sample(logits, [row])[0] in (1, 2)


def test_repetition_penalty_lowers_seen_tokens_of_either_sign() -> None:
    logits = torch.tensor([[2.0, 1.5, -1.0, -1.2]])
    row = SamplingRow(Sampling(repetition_penalty=2.0), [0], 0.0)
    assert sample(logits, [row]) == [1]
    negative = SamplingRow(Sampling(repetition_penalty=2.0), [0, 1, 2], 0.0)
    assert sample(torch.tensor([[-3.0, -3.0, -1.0, -1.2]]), [negative]) == [3]


def _transformers_probabilities(logits: torch.Tensor, chosen: list[SamplingRow], sampling: Sampling) -> torch.Tensor:
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    seen = torch.tensor([list(row.token_ids) for row in chosen])
    return processors(seen, logits.clone()).softmax(-1)


@pytest.mark.parametrize("temperature", [1e-50, 1.1e-5, 2.0])
@pytest.mark.parametrize("top_p", [1e-50, 1e-8, 1.0])
@pytest.mark.parametrize("penalty", [1e-38, 1.0, 100.0])
def test_the_most_extreme_legal_parameters_still_give_a_token(
    logits: torch.Tensor, temperature: float, top_p: float, penalty: float
) -> None:
    sampling = Sampling(do_sample=True, temperature=temperature, top_p=top_p, repetition_penalty=penalty)
    assert all(0 <= token < VOCABULARY for token in sample(logits * 1e4, rows(64, sampling)))
    if penalty >= 1 and (temperature < 1e-4 or top_p < 1e-4):  # a tiny penalty makes equal scores of many
        assert sample(logits, rows(64, sampling)) == sample(logits, rows(64, Sampling(repetition_penalty=penalty)))


def test_a_pending_token_is_penalised_as_the_one_that_the_step_before_sampled() -> None:
    logits = torch.tensor([[2.0, 1.5, 1.9, 0.0]])
    row = SamplingRow(Sampling(repetition_penalty=2.0), [0, 3, pending_token(1)], 0.0)
    assert on_device.sample(logits, [row], torch.tensor([0, 2])).tolist() == [1]
