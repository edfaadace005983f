"""The torch path on a CUDA device: the same tokens, with decode steps replayed as graphs."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from server.engine.runner import ModelRunner, PoolShape
from server.engine.step import ModelStep, Segment

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def make_model() -> GPTNeoXForCausalLM:
    torch.manual_seed(3)
    config = GPTNeoXConfig(
        vocab_size=512,
        hidden_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=512,
        initializer_range=0.1,
        tie_word_embeddings=False,
    )
    return GPTNeoXForCausalLM(config).eval()


@torch.inference_mode()
def logits_of(runner: ModelRunner, prompts: list[list[int]], num_decodes: int) -> torch.Tensor:
    """Logits of the prompts' last tokens, then of `num_decodes` fixed tokens after them: [steps, prompts, vocab]."""
    blocks = [tuple(range(index * 32, index * 32 + 32)) for index in range(len(prompts))]
    first = [Segment(tuple(tokens), table, 0, 0, 0, (), 1) for tokens, table in zip(prompts, blocks, strict=True)]
    found = [runner.run(ModelStep("m", tuple(first))).cpu()]
    for step in range(num_decodes):
        at = [len(tokens) + step for tokens in prompts]
        next_ = [Segment((7 + step,), table, n, n, n, (), 1) for n, table in zip(at, blocks, strict=True)]
        found.append(runner.run(ModelStep("m", tuple(next_))).cpu())
    return torch.stack(found)


@pytest.mark.parametrize(
    ("dtype", "int8", "bound"),
    [
        (torch.float32, False, 1e-3),
        (torch.float16, False, 0.02),
        (torch.bfloat16, False, 0.05),
        (torch.bfloat16, True, 0.1),
    ],
)
def test_cuda_gives_the_cpu_s_logits_in_prefill_and_in_replayed_decodes(
    dtype: torch.dtype, int8: bool, bound: float
) -> None:
    model = make_model()
    prompts = [torch.randint(512, (length,)).tolist() for length in (1, 9, 64, 200)]
    shape = PoolShape(128, 16)
    exact = logits_of(ModelRunner(copy.deepcopy(model), shape, torch.float32, torch.device("cpu")), prompts, 5)
    device = torch.device("cuda", 0)
    moved = copy.deepcopy(model).to(device)
    for parameter in moved.parameters():  # rotary frequencies stay float32, as the loader leaves them
        parameter.data = parameter.data.to(dtype)
    found = logits_of(ModelRunner(moved, shape, dtype, device, int8=int8), prompts, 5)
    assert float((found - exact).norm() / exact.norm()) < bound
