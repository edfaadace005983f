"""The next token: as transformers chooses it, and independent of what else is in the batch."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from server.engine.sampling.choice import most_probable
from server.engine.sampling.row import SamplingRow, is_penalised
from server.engine.sampling.sampler import Draws, Sampled, Sampler
from server.engine.sampling.seen_tokens import SeenTokens
from server.engine.schedule.step import pending_token
from server.wire import Sampling

VOCABULARY = 200


def sampled(logits: torch.Tensor, rows: list[SamplingRow], sampler: Sampler | None = None) -> Sampled:
    return (sampler or Sampler()).sample(logits.clone(), rows)


def sample(logits: torch.Tensor, rows: list[SamplingRow]) -> list[int]:
    return sampled(logits, rows).tokens.tolist()


def seen_by(prompt: list[int], reply: tuple[int, ...] = ()) -> SeenTokens:
    seen = SeenTokens(prompt)
    for token in reply:
        seen.add(token)
    return seen


def rows(number: int, sampling: Sampling, seed: int = 0) -> list[SamplingRow]:
    chooser = random.Random(seed)
    made = []
    for _ in range(number):
        prompt = [chooser.randrange(VOCABULARY) for _ in range(20)]
        made.append(SamplingRow(sampling, chooser.random(), seen_by(prompt) if is_penalised(sampling) else None))
    return made


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
        Sampling(do_sample=True, min_p=0.05),
        Sampling(do_sample=True, temperature=2.0, top_k=90, min_p=0.02),
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
    same = [SamplingRow(sampling, draws.at(position)) for position in range(number)]
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
    drawn = [first.at(position) for position in range(5)]
    assert drawn == [second.at(position) for position in (*range(4), 4)]
    assert second.at(2) == drawn[2], "asked again"
    assert drawn != [other.at(position) for position in range(5)]


def test_the_last_possible_draw_does_not_leave_the_allowed_tokens() -> None:
    logits = torch.tensor([[0.0, 10.0, 9.0, -50.0]])
    row = SamplingRow(Sampling(do_sample=True, top_k=2), 1.0 - 2**-53)
    assert sample(logits, [row])[0] in (1, 2)


def test_repetition_penalty_lowers_seen_tokens_of_either_sign() -> None:
    logits = torch.tensor([[2.0, 1.5, -1.0, -1.2]])
    row = SamplingRow(Sampling(repetition_penalty=2.0), 0.0, seen_by([0]))
    assert sample(logits, [row]) == [1]
    negative = SamplingRow(Sampling(repetition_penalty=2.0), 0.0, seen_by([0, 1, 2]))
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
    if sampling.min_p:
        processors.append(MinPLogitsWarper(sampling.min_p))
    return torch.cat([processors(_seen(row), logits[at : at + 1].clone()) for at, row in enumerate(chosen)]).softmax(-1)


def _seen(row: SamplingRow) -> torch.Tensor:
    return torch.tensor([row.seen.token_ids.tolist() if row.seen else []], dtype=torch.long)


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
    row = SamplingRow(Sampling(repetition_penalty=2.0), 0.0, seen_by([0, 3]), (pending_token(1),))
    assert Sampler().sample(logits, [row], torch.tensor([0, 2])).tokens.tolist() == [1]


LARGE = 50_432


def large(number: int, scale: float) -> torch.Tensor:
    return torch.randn(number, LARGE, generator=torch.Generator().manual_seed(8)) * scale


@pytest.mark.parametrize("scale", [0.5, 3.0])  # nearly even, where thousands of tokens are needed, and peaked
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(do_sample=True, temperature=0.6, top_k=40),
        Sampling(do_sample=True, top_k=40, top_p=0.9),
        Sampling(do_sample=True, temperature=0.8, top_k=500, top_p=0.97),
        Sampling(do_sample=True, top_p=0.8),
        Sampling(do_sample=True, top_p=0.9, min_p=0.01),
        Sampling(do_sample=True, top_k=3000),
    ],
)
def test_a_draw_is_the_one_that_the_whole_vocabulary_in_order_gives(sampling: Sampling, scale: float) -> None:
    logits, chosen = large(8, scale), [SamplingRow(sampling, draw) for draw in torch.rand(8).tolist()]
    probabilities = _transformers_probabilities(logits, chosen, sampling).double()
    order = probabilities.sort(dim=-1, descending=True, stable=True).indices
    if not sampling.top_k:  # then only the head is put in order
        order[:, 64:] = order[:, 64:].sort(dim=-1).values
    ordered = probabilities.gather(1, order)
    places = torch.searchsorted(ordered.cumsum(-1), torch.tensor([[row.draw] for row in chosen], dtype=torch.float64))
    expected = order.gather(1, places)[:, 0]
    found = torch.tensor(sample(logits, chosen))
    # float32 sums differ in their last places; then a neighbour in the order is drawn
    for row, (token, right) in enumerate(zip(found.tolist(), expected.tolist(), strict=True)):
        rank, place = int((order[row] == token).int().argmax()), int((order[row] == right).int().argmax())
        between = ordered[row, min(rank, place) : max(rank, place)]
        assert (between > 0).sum() <= 1, (rank, place)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(do_sample=True, temperature=1.5),
        Sampling(do_sample=True, min_p=0.2),
        Sampling(do_sample=True, top_p=0.1),
    ],
)
def test_without_top_k_every_token_comes_as_often_as_it_is_probable(sampling: Sampling) -> None:
    number = 800
    one = torch.zeros(1, 4096)
    one[0, :100] = 2.0 + torch.linspace(0, 0.01, 100)  # more than the head holds
    same = [SamplingRow(sampling, (at + 0.5) / number) for at in range(number)]
    found = torch.bincount(torch.tensor(sample(one.expand(number, -1), same)), minlength=4096)
    expected = _transformers_probabilities(one, same[:1], sampling)[0] * number
    of_one = float(expected.max())  # float32 sums may put the edge of a nucleus one token further
    assert ((found[:100] - expected[:100]).abs() > 1.0).sum() <= (1 if sampling.top_p < 1 else 0)
    assert abs(float(found[100:].sum()) - float(expected[100:].sum())) <= 2.0 + (of_one if sampling.top_p < 1 else 0)


def test_frequency_and_presence_penalties_count_the_reply_and_not_the_prompt() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    row = SamplingRow(Sampling(frequency_penalty=0.5, presence_penalty=0.25), 0.0, seen_by([0], (1, 1, 2)), (2,))
    Sampler().sample(logits, [row])
    assert logits.tolist() == [[1.0, 1.0 - 1.25, 1.0 - 1.25, 1.0]]


def test_a_pending_token_is_counted_with_those_that_are_known() -> None:
    sampling = Sampling(frequency_penalty=1.0, presence_penalty=0.5)
    logits = torch.zeros(2, 5)
    both = [SamplingRow(sampling, 0.0, seen_by([], (1, 1, 3)), (pending_token(at),)) for at in range(2)]
    Sampler().sample(logits, both, torch.tensor([1, 4]))
    assert logits.tolist() == [[0, -3.5, 0, -1.5, 0], [0, -2.5, 0, -1.5, -1.5]]


def test_a_bias_decides_and_forbids() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0]])
    assert sample(logits, [SamplingRow(Sampling(logit_bias=((2, 100.0),)))]) == [2]
    assert sample(logits, [SamplingRow(Sampling(logit_bias=((1, -100.0),)))]) == [2]


def test_a_reply_does_not_end_before_it_may() -> None:
    logits, sampler = torch.tensor([[9.0, 8.0, 1.0]]), Sampler(end_tokens=(0, 1))
    for sampling, num_new_tokens, expected in (
        (Sampling(min_tokens=3), 2, 2),
        (Sampling(min_tokens=3), 3, 0),
        (Sampling(ignore_eos=True), 9, 2),
    ):
        row = SamplingRow(sampling, num_new_tokens=num_new_tokens)
        assert sampled(logits, [row], sampler).tokens.tolist() == [expected]


def test_tokens_without_text_are_never_sampled() -> None:
    logits = torch.full((64, VOCABULARY), 0.0)
    logits[:, (7, 198, 199)] = 50.0
    sampler = Sampler(textless=(7, 198, 199))
    for sampling in (Sampling(), Sampling(do_sample=True), Sampling(do_sample=True, top_p=0.5)):
        assert not {7, 198, 199} & set(sampled(logits, rows(64, sampling), sampler).tokens.tolist())


def test_log_probabilities_are_the_models_own_whatever_is_done_to_the_choice(logits: torch.Tensor) -> None:
    sampling = Sampling(logprobs=3, temperature=0.3, do_sample=True, logit_bias=((5, 50.0),))
    chosen = [SamplingRow(Sampling(), 0.0), *rows(3, sampling)]
    result = sampled(logits[:4], chosen)
    assert result.logprobs is not None
    own = logits[1:4].log_softmax(-1)
    assert torch.allclose(result.logprobs.chosen, own[:, 5])
    assert torch.allclose(result.logprobs.top[:, :3], own.topk(3).values)
    assert result.logprobs.token_ids[:, :3].tolist() == own.topk(3).indices.tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("top_k", [0, 5])
@pytest.mark.parametrize("do_sample", [False, True])
def test_a_row_that_is_not_finite_is_told_and_changes_no_other(
    logits: torch.Tensor, value: float, top_k: int, do_sample: bool
) -> None:
    chosen = rows(64, Sampling(do_sample=do_sample, top_k=top_k))
    broken = logits.clone()
    broken[3, 150] = value
    broken[9] = value
    found, whole = sampled(broken, chosen), sampled(logits, chosen)
    assert [at for at, finite in enumerate(found.finite.tolist()) if not finite] == [3, 9]
    others = [at for at in range(64) if at not in (3, 9)]
    assert found.tokens[others].tolist() == whole.tokens[others].tolist()
    assert all(0 <= token < VOCABULARY for token in found.tokens.tolist())


@pytest.mark.parametrize("vocabulary", [40, 64, 65, 200, 8192, 8200, LARGE])
@pytest.mark.parametrize("size", [1, 64, 1024])
def test_the_most_probable_are_those_that_a_sort_puts_first(vocabulary: int, size: int) -> None:
    some = torch.randn(5, vocabulary, generator=torch.Generator().manual_seed(2))
    values, token_ids = most_probable(some, min(size, vocabulary))
    expected, order = some.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(values, expected[:, :size])
    assert torch.equal(token_ids, order[:, :size])
