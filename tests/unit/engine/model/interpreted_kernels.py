"""What the GPU's kernels compute, by Triton's interpreter. Run by test_triton_kernels.py in a process of its own."""

from __future__ import annotations

import pytest
import torch

from server.engine.model.attention_backends import AttentionBackend, decode_by_products
from server.engine.model.linear import quantise
from server.engine.model.rounded_rows import RoundedRows
from server.engine.model.step_layout import DecodeRows
from server.engine.model.torch_model import TorchModel
from server.engine.model.triton_decode import decode_by_kernel
from server.engine.model.triton_int4 import int4_linear
from server.engine.model.triton_int8 import int8_linear
from server.engine.weights.int4 import quantise_int4, widened
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


def stored(
    heads: int, head_dim: int, dtype: torch.dtype, group: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries of `group` times as many heads as the keys and values."""
    torch.manual_seed(head_dim)
    keys, values = torch.randn(2, 1500, heads, head_dim).to(dtype)
    return torch.randn(6, heads * group, head_dim).to(dtype), keys, values


def decode_of(num_visible: list[int], longest: int) -> DecodeRows:
    slots = torch.stack([torch.randperm(1500)[:longest] for _ in num_visible])
    return DecodeRows(torch.tensor([4, 0, 5, 1, 3])[: len(num_visible)], slots, torch.tensor(num_visible))


@pytest.mark.parametrize(
    ("heads", "group", "head_dim", "dtype", "bound"),
    [
        (3, 1, 96, torch.float32, 1e-5),  # GPT-NeoX-20B's head
        (2, 1, 256, torch.float16, 2e-3),  # GPT-J-6B's
        (2, 1, 20, torch.float32, 1e-5),
        (3, 3, 64, torch.float32, 1e-5),  # SmolLM2's
        (1, 1, 64, torch.bfloat16, 1e-2),
    ],
)
def test_a_decode_gives_what_the_products_give(
    heads: int, group: int, head_dim: int, dtype: torch.dtype, bound: float
) -> None:
    query, keys, values = stored(heads, head_dim, dtype, group)
    for decode in (decode_of([1, 31, 256, 257, 700], 768), decode_of([9], 9), decode_of([256, 3], 256)):
        expected = decode_by_products(query, keys, values, decode, head_dim**-0.5)
        found = decode_by_kernel(query, keys, values, decode, head_dim**-0.5)
        assert found.dtype == dtype
        assert float((found - expected).abs().max()) < bound


def test_a_decode_over_keys_and_values_of_one_byte_gives_what_the_products_give() -> None:
    query, *plain = stored(2, 40, torch.float32)
    keys, values = (RoundedRows((1500, 2, 40), torch.float32, torch.device("cpu")) for _ in range(2))
    for rows, exact in zip((keys, values), plain, strict=True):
        rows.index_copy_(0, torch.arange(1500), exact)
    decode = decode_of([1, 31, 256, 257, 700], 768)
    expected = decode_by_products(query, keys, values, decode, 0.2)
    assert float((decode_by_kernel(query, keys, values, decode, 0.2) - expected).abs().max()) < 1e-5
    assert 0 < float((expected - decode_by_products(query, *plain, decode, 0.2)).norm() / expected.norm()) < 0.02


def test_a_sequence_decodes_to_the_same_bits_whatever_else_is_in_the_batch() -> None:
    query, keys, values = stored(2, 32, torch.float32)
    batch = decode_of([300, 17, 1000], 1024)
    alone = DecodeRows(batch.rows[:1], batch.slots[:1, :300], batch.num_visible[:1])
    together, single = (decode_by_kernel(query, keys, values, each, 0.2) for each in (batch, alone))
    assert torch.equal(together[:1], single)


# Triton's interpreter has no bfloat16 products; tests/gpu has.
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 1e-3)])
@pytest.mark.parametrize(
    ("rows", "outputs", "inputs"), [(1, 40, 96), (17, 70, 200), (64, 32, 130), (65, 33, 50), (0, 32, 32)]
)
def test_an_int8_product_gives_what_widened_weights_give(
    dtype: torch.dtype, bound: float, rows: int, outputs: int, inputs: int
) -> None:
    torch.manual_seed(rows)
    weight, scales = quantise(torch.randn(outputs, inputs).to(dtype))
    x = torch.randn(rows, inputs).to(dtype)
    found = int8_linear(x, weight, scales)
    expected = x.float() @ (weight.float() * scales.float()[:, None]).T
    assert (found.dtype, found.shape) == (dtype, (rows, outputs))
    assert float((found.float() - expected).norm()) <= bound * float(expected.norm())


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 2e-3)])
@pytest.mark.parametrize(("rows", "outputs", "inputs"), [(1, 40, 96), (17, 70, 200), (65, 33, 50), (0, 32, 32)])
def test_an_int4_product_gives_what_widened_weights_give(
    dtype: torch.dtype, bound: float, rows: int, outputs: int, inputs: int
) -> None:
    torch.manual_seed(rows)
    weight = quantise_int4(torch.randn(outputs, inputs).to(dtype))
    x = torch.randn(rows, inputs).to(dtype)
    found = int4_linear(x, weight)
    expected = x.float() @ widened(weight, inputs, torch.float32).T
    assert (found.dtype, found.shape) == (dtype, (rows, outputs))
    assert float((found.float() - expected).norm()) <= bound * float(expected.norm())


@pytest.mark.parametrize("kind", ["neox", "gptj", "llama"])
def test_a_model_that_decodes_by_the_kernel_gives_its_own_logits(kind: str) -> None:
    model, runner = make_model(kind), TorchModel(make_model(kind), torch.float32, torch.device("cpu"))
    with torch.inference_mode():
        runner.allocate(128 * BLOCK_TOKENS)
    for layer in runner._layers:
        layer._backend = AttentionBackend(decode=decode_by_kernel, decodes_in_place=True)
    sequences = [prompt_of(length) for length in (3, 40)]
    with torch.inference_mode():
        runner.run(step_of(*(whole(index, tokens) for index, tokens in enumerate(sequences))), BLOCK_TOKENS)
        for _ in range(2):
            sequences = [[*tokens, 7] for tokens in sequences]
            last = [rest(index, tokens, len(tokens) - 1) for index, tokens in enumerate(sequences)]
            logits = runner.run(step_of(*last), BLOCK_TOKENS)
            expected = torch.stack([reference(model, tokens)[-1] for tokens in sequences])
            assert relative_error(logits, expected) < 1e-5
