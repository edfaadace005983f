"""DeepSpeed's kernels in a model: its own fallbacks in their place say the same, and wrong ones are withdrawn."""

from __future__ import annotations

import logging

import pytest
import torch
from deepspeed.ops.transformer.inference.op_binding.bias_gelu import BiasGeluOp
from deepspeed.ops.transformer.inference.op_binding.layer_norm import LayerNormOp

from server.engine.model.injection import Kernels, load_kernels, prove
from server.engine.model.injection_trial import try_injection
from server.engine.model.runner import ModelRunner, PoolShape
from server.engine.parallel.group import Rank
from server.engine.parallel.processor import Level
from server.engine.weights.golden import Golden, GoldenCheck, GoldenError, GoldenPrompt
from tests.unit.engine.tiny_models import BLOCK_TOKENS, make_model, prompt_of, reference, step_of, whole

CPU = torch.device("cpu")
RANK = Rank(0, 1, CPU)
FALLBACKS = Kernels(LayerNormOp.layer_norm_fallback, BiasGeluOp.bias_gelu_fallback)


def counted(kernels: Kernels) -> tuple[Kernels, list[str]]:
    calls: list[str] = []

    def norm(*arguments: object) -> torch.Tensor:
        calls.append("norm")
        return kernels.layer_norm(*arguments)  # type: ignore[arg-type]

    def gelu(*arguments: object) -> torch.Tensor:
        calls.append("gelu")
        return kernels.bias_gelu(*arguments)  # type: ignore[arg-type]

    return Kernels(norm, gelu), calls


def runner_of(kind: str) -> ModelRunner:
    return ModelRunner(make_model(kind), PoolShape(64, BLOCK_TOKENS), torch.float32, CPU, level=Level.NONE)


def golden_check(kind: str, runner: ModelRunner) -> None:
    tokens = prompt_of(12)
    logits = reference(make_model(kind), tokens)[-1]
    top = logits.topk(5)
    prompt = GoldenPrompt(
        "a prompt", tuple(tokens), tuple(top.indices.tolist()), tuple(top.values.tolist()), float(logits.std())
    )
    golden = Golden((prompt,), {"float32": 1e-3})
    GoldenCheck("chat", runner.run, BLOCK_TOKENS, 64 * BLOCK_TOKENS, ("float32",), "").check(golden)


@pytest.fixture(params=["neox_sequential", "gptj"])  # both have the tanh form of GELU
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_kernels_that_say_the_same_stay(kind: str) -> None:
    runner, (kernels, calls) = runner_of(kind), counted(FALLBACKS)
    assert try_injection([runner], kernels, RANK, lambda: golden_check(kind, runner))
    calls.clear()
    step = step_of(whole(0, prompt_of(20)))
    found = runner.run(step)
    assert {"norm", "gelu"} == set(calls)
    torch.testing.assert_close(found, reference(make_model(kind), prompt_of(20))[-1:], atol=1e-4, rtol=1e-4)


def test_the_erf_form_of_gelu_is_left_alone() -> None:
    runner, (kernels, calls) = runner_of("neox"), counted(FALLBACKS)
    assert try_injection([runner], kernels, RANK, lambda: golden_check("neox", runner))
    assert set(calls) == {"norm"}


def test_kernels_with_which_the_golden_check_fails_are_withdrawn(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    runner, step = runner_of(kind), step_of(whole(0, prompt_of(20)))
    before = runner.run(step)
    wrong = Kernels(lambda x, w, b, e: FALLBACKS.layer_norm(x, w, b, e) * 1.5, FALLBACKS.bias_gelu)
    kernels, calls = counted(wrong)
    assert not try_injection([runner], kernels, RANK, lambda: golden_check(kind, runner))
    assert "the golden check fails with it" in caplog.text
    calls.clear()
    assert torch.equal(runner.run(step), before)
    assert calls == []


def test_kernels_that_do_not_run_are_never_used() -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available for execution on the device")

    assert not prove(Kernels(FALLBACKS.layer_norm, broken), torch.float32, CPU)


def test_a_rank_without_kernels_leaves_the_model_alone(kind: str) -> None:
    assert not try_injection([runner_of(kind)], None, RANK, lambda: pytest.fail("nothing to check"))


def test_where_deepspeed_has_none_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert load_kernels(torch.float32, CPU) is None
    assert "not been implemented on CPU" in caplog.text or "not been implemented" in caplog.text


def test_kernels_are_proven_before_they_are_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert prove(FALLBACKS, torch.float32, CPU)
    assert not prove(Kernels(FALLBACKS.layer_norm, lambda x, b: x + b), torch.float32, CPU)


def test_the_golden_check_of_this_file_can_fail(kind: str) -> None:
    runner = runner_of("gptj" if kind == "neox_sequential" else "neox_sequential")
    with pytest.raises(GoldenError):
        golden_check(kind, runner)
