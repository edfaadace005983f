"""The torch path on a CUDA device gives what float32 on the CPU gives: prompts, chunks, trees, replayed decodes."""

from __future__ import annotations

import copy

import pytest
import torch

from server.dtypes import DTYPES
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.schedule.step import Segment, pending_token
from tests.unit.engine.tiny_models import (
    BLOCK_TOKENS,
    make_model,
    prompt_of,
    reference,
    relative_error,
    rest,
    step_of,
    whole,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

DEVICE = torch.device("cuda", 0)
BOUNDS = [
    ("float32", 1e-3),
    ("float16", 0.02),
    ("bfloat16", 0.05),
    ("int8", 0.1),
]


def runner_of(kind: str, name: str, *, own_kernels: bool = True) -> ModelRunner:
    dtype = DTYPES[name]
    model = copy.deepcopy(make_model(kind)).to(DEVICE)
    for parameter in model.parameters():  # rotary frequencies stay float32, as the loader leaves them
        parameter.data = parameter.data.to(torch_dtype(dtype))
    runner = ModelRunner(model, dtype, DEVICE, own_kernels=own_kernels)
    runner.allocate(PoolShape(256, BLOCK_TOKENS))
    return runner


@pytest.fixture(params=["neox", "neox_sequential", "gptj", "llama"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("own_kernels", [True, False], ids=["own-kernels", "torch"])
@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
def test_prompts_and_replayed_decodes_give_the_models_own_logits(
    kind: str, dtype: str, bound: float, own_kernels: bool
) -> None:
    runner, model = runner_of(kind, dtype, own_kernels=own_kernels), make_model(kind)
    sequences = [prompt_of(length) for length in (1, 9, 64, 200)]
    logits = runner.run(step_of(*(whole(index, tokens) for index, tokens in enumerate(sequences)))).cpu()
    for _ in range(5):
        expected = torch.stack([reference(model, tokens)[-1] for tokens in sequences])
        assert relative_error(logits, expected) < bound
        sequences = [[*tokens, 7] for tokens in sequences]
        last = [rest(index, tokens, len(tokens) - 1) for index, tokens in enumerate(sequences)]
        logits = runner.run(step_of(*last)).cpu()


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
def test_a_chunk_beside_a_decode_gives_the_models_own_logits(kind: str, dtype: str, bound: float) -> None:
    runner, model = runner_of(kind, dtype), make_model(kind)
    long, short = prompt_of(100), prompt_of(9)
    assert runner.run(step_of(whole(0, long[:37], num_logits=0))).shape == (0, model.config.vocab_size)
    runner.run(step_of(whole(1, short[:-1])))
    logits = runner.run(step_of(rest(0, long, 37, num_logits=2), rest(1, short, len(short) - 1))).cpu()
    expected = torch.cat([reference(model, long)[-2:], reference(model, short)[-1:]])
    assert relative_error(logits, expected) < bound


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
def test_branches_of_a_label_tree_see_their_ancestors_and_not_each_other(kind: str, dtype: str, bound: float) -> None:
    runner, model = runner_of(kind, dtype), make_model(kind)
    context, blocks = prompt_of(21), whole(0, prompt_of(40)).blocks
    runner.run(step_of(Segment(tuple(context), blocks, 0, 0, 0)))
    first = Segment((11, 12, 13), blocks, 21, 21, 21, (), 3)
    branch = Segment((14, 15), blocks, 22, 24, 21, (21,), 2)  # after 11, in the place of 12
    other = Segment((16,), blocks, 21, 26, 21, (), 1)
    logits = runner.run(step_of(first, branch, other)).cpu()
    expected = [reference(model, [*context, 11, 12, 13])[-3:], reference(model, [*context, 11, 14, 15])[-2:]]
    expected.append(reference(model, [*context, 16])[-1:])
    assert relative_error(logits, torch.cat(expected)) < bound


def test_a_step_queued_behind_the_one_it_continues_reads_what_that_one_sampled(kind: str) -> None:
    runner, model = runner_of(kind, "float32"), make_model(kind)
    tokens = prompt_of(30)
    sampled = runner.run(step_of(whole(0, tokens))).argmax(-1)
    found = []
    for _ in range(6):  # nothing waits for the device in between
        tokens = [*tokens, pending_token(0)]
        logits = runner.run(step_of(rest(0, tokens, len(tokens) - 1)), sampled)
        sampled = logits.argmax(-1)
        found.append(sampled)
    expected = prompt_of(30)
    for _ in range(7):
        expected.append(int(reference(model, expected)[-1].argmax()))
    assert [int(each) for each in found] == expected[31:]
