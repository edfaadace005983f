"""Weights of four bits are made while packaging: a quarter of the bytes, and golden data that holds them to it."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from server.dtypes import DTYPES
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.package.packager import PackageJob, write_package
from server.engine.package.stored import PackagedWhole
from server.engine.parallel.group import Rank
from server.engine.weights.cut_plan import plan_cuts
from server.engine.weights.golden import GoldenCheck, GoldenError
from server.engine.weights.int4 import quantise_int4, widened
from server.engine.weights.load import load_model
from server.engine.weights.manifest import Manifest
from server.engine.weights.sources import Cut
from tests.process.engine.package.package_folders import Packaged, job_for
from tests.process.engine.small_models import make

RANK = Rank(0, 1, torch.device("cpu"))
BLOCK_TOKENS, NUM_BLOCKS = 8, 12
plans_of = functools.cache(plan_cuts)  # a process of its own


@pytest.fixture(scope="module", params=["neox", "llama_tied"])
def packaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """For one rank, which this process can be."""
    folder = tmp_path_factory.mktemp(f"int4-{request.param}")
    model = make(request.param, folder / "source")
    job = replace(job_for(folder / "source", folder / "packaged", dtype="int4"), degree=1)
    return Packaged(job.source, job.out, write_package(job), model)


def runner_of(folder: Path, dtype: str) -> ModelRunner:
    runner = ModelRunner(load_model(folder, RANK, torch_dtype(DTYPES[dtype])), DTYPES[dtype], RANK.device)
    runner.allocate(PoolShape(NUM_BLOCKS, BLOCK_TOKENS))
    return runner


def golden_check(runner: ModelRunner, manifest: Manifest, dtype: str) -> float:
    assert manifest.golden is not None
    dtypes, slots = (dtype, manifest.dtype), NUM_BLOCKS * BLOCK_TOKENS
    return GoldenCheck("chat", runner.run, BLOCK_TOKENS, num_slots=slots, dtypes=dtypes, suspects="").check(
        manifest.golden
    )


@pytest.mark.parametrize("dtype", ["int4", "int8", "bfloat16"])
def test_what_is_served_is_held_to_what_the_package_says(packaged: Packaged, dtype: str) -> None:
    assert golden_check(runner_of(packaged.folder, dtype), packaged.manifest, dtype) < 0.5


def test_weights_that_were_lost_are_noticed(packaged: Packaged, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in packaged.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "common.safetensors")
    lost = {name: 0 * scales for name, scales in tensors.items() if name.endswith(".weight.scales")}
    save_file(tensors | lost, folder / "common.safetensors")
    with pytest.raises(GoldenError):
        golden_check(runner_of(folder, "int4"), packaged.manifest, "int4")


def test_matrices_of_layers_take_four_and_a_half_bits_a_weight(packaged: Packaged) -> None:
    tensors = load_file(packaged.folder / "common.safetensors")
    plans = {name: plan for name, plan in plans_of(packaged.source, 1).items() if plan.is_matrix}
    weights = sum(plan.shape[0] * -(-plan.shape[1] // 32) * 32 for plan in plans.values())
    scales = sum(4 * plan.shape[0] + 4 for plan in plans.values())
    parts = [each for each in tensors if each.rpartition(".")[0] in plans]
    assert sum(tensors[each].nbytes for each in parts) == weights * 4.5 / 8 + scales
    assert not set(plans) & set(tensors)
    assert all(each.dtype == torch.bfloat16 for name, each in tensors.items() if name not in parts)


def test_shares_of_two_ranks_are_rounded_each_by_itself_and_give_the_whole_again(
    packaged: Packaged, tmp_path: Path
) -> None:
    write_package(PackageJob(packaged.source, tmp_path / "out", 2, "int4", "small"))
    plans = plans_of(packaged.source, 2)
    whole = PackagedWhole(tmp_path / "out", plans, 2)
    parameters = dict(packaged.model.named_parameters(remove_duplicate=False))
    for name, plan in plans.items():
        exact = parameters[name].detach()
        if plan.is_matrix:
            shares = exact.split(plan.sizes, plan.dim) if plan.dim is not None else (exact,)
            expected = torch.cat(
                [widened(quantise_int4(each), each.shape[1], torch.float32) for each in shares], plan.dim or 0
            )
        else:
            expected = exact.bfloat16()
        assert torch.equal(whole.tensor(name, None), expected), name
        assert torch.equal(whole.tensor(name, Cut(0, 5, 70)), expected[5:70]), name


def test_rounding_again_at_the_start_changes_next_to_nothing(packaged: Packaged) -> None:
    exact = dict(packaged.model.named_parameters())
    for name, plan in plans_of(packaged.source, 1).items():
        if plan.is_matrix:
            once = widened(quantise_int4(exact[name].detach()), plan.shape[1], torch.float32)
            again = widened(quantise_int4(once.bfloat16()), plan.shape[1], torch.float32)
            assert float((again - once).norm()) < 0.15 * float((once - exact[name].detach()).norm())
