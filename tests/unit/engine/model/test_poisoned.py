"""Keys and values that are not numbers harm the sequence they belong to, and no stranger."""

from __future__ import annotations

import pytest
import torch

from server.dtypes import DTYPES, KvKind
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.processor import Level
from server.engine.schedule.step import ModelStep, Segment
from tests.unit.engine.model.test_runner import LEVELS, PATHS
from tests.unit.engine.tiny_models import BLOCK_TOKENS, make_model

BAD = 5  # a token whose embedding is not a number


WAYS = [
    *((*path, KvKind.PLAIN) for path in PATHS),
    *(("bfloat16", level, KvKind.INT8) for level in (Level.NONE, LEVELS[-1])),
]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-{way[1].name}-kv-{way[2].name}")
def runner(request: pytest.FixtureRequest) -> ModelRunner:
    name, level, kind = request.param
    dtype = DTYPES[name]
    model = make_model("neox").to(torch_dtype(dtype))
    made = ModelRunner(model, dtype, torch.device("cpu"), own_kernels=level is not Level.NONE, level=level)
    made.allocate(PoolShape(256, BLOCK_TOKENS, kind))
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[BAD] = torch.nan
    return made


def run(runner: ModelRunner, *segments: Segment) -> list[bool]:
    return runner.run(ModelStep("m", segments)).isfinite().all(-1).tolist()


def poison(runner: ModelRunner, blocks: tuple[int, ...]) -> None:
    tokens = (BAD, *range(20, 20 + BLOCK_TOKENS * len(blocks) - 2))
    assert run(runner, Segment.of(tokens, blocks, 0, 1)) == [False], "the sequence itself is told"


def test_whoever_takes_a_poisoned_block_next_is_well(runner: ModelRunner) -> None:
    poison(runner, (0, 1))
    assert run(runner, Segment.of((30, 31, 32), (1,), 0, 3)) == [True] * 3
    assert run(runner, Segment.of((33,), (1,), 3, 1)) == [True]


def test_sequences_beside_a_poisoned_one_say_what_they_say_without_it(runner: ModelRunner) -> None:
    tokens = tuple(range(40, 60))
    runner.run(ModelStep("m", (Segment.of((30, 31, 32), (20,), 0, 1), Segment.of(tokens, (24, 25, 26), 0, 1))))
    decodes = Segment.of((33,), (20,), 3, 1), Segment.of((61,), (24, 25, 26), 20, 1)
    alone = runner.run(ModelStep("m", decodes)).clone()
    poison(runner, (0, 1, 21, 27))  # slot 0, and those behind and beside the others'
    bad = Segment.of((BAD,), (0, 1, 21, 27), 30, 1)
    together = runner.run(ModelStep("m", (decodes[0], bad, decodes[1])))
    assert together.isfinite().all(-1).tolist() == [True, False, True]
    assert torch.allclose(together[[0, 2]], alone, rtol=0.02, atol=0.02)


def test_blocks_of_one_group_of_slots_do_not_infect_each_other(runner: ModelRunner) -> None:
    chunks = Segment.of((30, 31, 32, 34, 35), (2,), 0, 1), Segment.of((BAD, 31, 32, 34, 35), (3,), 0, 1)
    assert run(runner, *chunks) == [True, False]
    assert run(runner, Segment.of((36,), (2,), 5, 1), Segment.of((36,), (3,), 5, 1)) == [True, False]
