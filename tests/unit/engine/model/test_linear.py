"""Packed linear layers give what the plain ones give, within what their weights were rounded to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from server.dtypes import WeightKind
from server.engine.model.linear import (
    PackedLinear,
    int8_product,
    multiplies_bfloat16,
    pack_linears,
    quantise,
    reordered_product,
    weight_bytes,
)
from server.engine.weights.int4 import quantise_int4, widened

SHAPES = ((7, 5), (203, 144), (64, 96))  # outputs, inputs


def weight_of(outputs: int, inputs: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(outputs)
    return torch.randn(outputs, inputs, generator=generator).to(torch.bfloat16)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("rows", [1, 6])
def test_a_packed_product_equals_the_plain_one(outputs: int, inputs: int, rows: int) -> None:
    weight, x = weight_of(outputs, inputs), weight_of(rows, inputs)
    exact = x.float() @ weight.float().T
    quantised, scales = quantise(weight)
    rounded = x.float() @ (quantised.float() * scales.float()[:, None]).T
    dtype = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    torch.testing.assert_close(reordered_product(weight.to(dtype))(x.to(dtype)).float(), exact, atol=0.02, rtol=0.01)
    torch.testing.assert_close(int8_product(weight)(x).float(), rounded, atol=0.02, rtol=0.01)


def test_int8_rounds_every_output_by_its_own_largest_weight() -> None:
    weight = weight_of(5, 64) * torch.tensor([1e-3, 1.0, 50.0, 0.0, 2.0], dtype=torch.bfloat16)[:, None]
    quantised, scales = quantise(weight)
    error = (quantised.float() * scales.float()[:, None] - weight.float()).abs()
    # Half a step, and what rounding the scale itself to bfloat16 leaves at the largest weight.
    assert (error <= scales.float()[:, None] * 1.01).all()
    assert quantised.abs().amax(1).tolist()[3] == 0


@pytest.mark.parametrize("kind", WeightKind)
def test_packing_replaces_linear_layers_and_leaves_float32_alone(kind: WeightKind) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
    pack_linears(model, torch.float32, torch.device("cpu"), kind=WeightKind.PLAIN)
    assert isinstance(model[0], nn.Linear)
    assert weight_bytes(model) == (8 * 16 + 16 * 4) * 4
    exact = model(torch.ones(2, 3, 8))
    model.to(torch.bfloat16)
    pack_linears(model, torch.bfloat16, torch.device("cpu"), kind=kind)
    assert isinstance(model[0], PackedLinear)
    assert weight_bytes(model) == {WeightKind.PLAIN: 2 * 192, WeightKind.INT8: 192, WeightKind.INT4: 108}[kind]
    packed = model(torch.ones(2, 3, 8, dtype=torch.bfloat16))
    torch.testing.assert_close(packed.float(), exact, atol=0.2 if kind is WeightKind.INT4 else 0.02, rtol=0.02)


def test_int4_rounds_every_32_inputs_between_their_own_least_and_largest() -> None:
    weight = weight_of(6, 70)
    weight[0, :32] *= 1000.0
    weight[1] = weight[1].abs() + 3  # far from zero: the range begins there all the same
    weight[2] = 0.0
    steps = 15.0
    rounded = widened(quantise_int4(weight), 70, torch.float32)
    for start in range(0, 70, 32):
        part, found = weight[:, start : start + 32].float(), rounded[:, start : start + 32]
        width = part.amax(1).clamp_min(0) - part.amin(1).clamp_max(0)
        widest = (weight.float().amax(1) - weight.float().amin(1)).clamp_min(0)
        # Half a step, and what rounding the step and the zero to a byte each leaves.
        assert ((found - part).abs() <= (width / steps + widest / steps / 255 * 8)[:, None] * 0.75).all()
    assert rounded[2].abs().max() == 0


def test_no_rows_are_multiplied_to_none() -> None:
    assert int8_product(weight_of(7, 5))(weight_of(7, 5)[:0]).shape == (0, 7)
