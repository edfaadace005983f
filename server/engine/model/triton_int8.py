"""Products with int8 weights of one scale an output (weight-only int8) on a GPU, in Triton.

A decode step is bound by reading weights, so a kernel reads them as int8 and widens them in registers. A prompt is
bound by arithmetic: there the matrix is widened once, and the device's own product takes it.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import linear

MOST_ROWS = 64  # of the kernel; more rows are a prompt's
ROW_TILE, OUTPUT_TILE, INPUT_TILE = 16, 32, 128


@triton.jit(do_not_specialize=["num_rows"])
def multiply(
    x, weight, scales, y, num_rows, num_outputs, num_inputs,
    row_tile: tl.constexpr, output_tile: tl.constexpr, input_tile: tl.constexpr,
):  # fmt: skip
    """Program (output tile, row tile): y = x W^T * scales, summed in float32."""
    output = tl.program_id(0) * output_tile + tl.arange(0, output_tile)
    row = tl.program_id(1) * row_tile + tl.arange(0, row_tile)
    in_outputs, in_rows = output < num_outputs, row < num_rows
    sums = tl.zeros((row_tile, output_tile), tl.float32)
    for first in range(0, num_inputs, input_tile):
        at = first + tl.arange(0, input_tile)
        inside = at < num_inputs
        xs = tl.load(x + row[:, None] * num_inputs + at[None, :], mask=in_rows[:, None] & inside[None, :], other=0.0)
        place = output[None, :].to(tl.int64) * num_inputs + at[:, None]
        ws = tl.load(weight + place, mask=inside[:, None] & in_outputs[None, :], other=0)
        sums += tl.dot(xs, ws.to(xs.dtype))
    sums *= tl.load(scales + output, mask=in_outputs, other=0.0).to(tl.float32)[None, :]
    at_result = row[:, None].to(tl.int64) * num_outputs + output[None, :]
    tl.store(y + at_result, sums, mask=in_rows[:, None] & in_outputs[None, :])


def linear_by_widening(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """As `int8_linear`, by the device's own product with a widened copy of the weights."""
    return linear(x, weight.to(x.dtype)) * scales


def int8_linear(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """[rows, inputs] by int8 [outputs, inputs] with scales [outputs], in the dtype of x; all contiguous."""
    (num_rows, num_inputs), num_outputs = x.shape, weight.shape[0]
    if num_rows > MOST_ROWS:
        return linear_by_widening(x, weight, scales)
    y = x.new_empty(num_rows, num_outputs)
    if num_rows:  # an empty launch is an error
        grid = triton.cdiv(num_outputs, OUTPUT_TILE), triton.cdiv(num_rows, ROW_TILE)
        multiply[grid](
            x, weight, scales, y, num_rows, num_outputs, num_inputs,
            row_tile=ROW_TILE, output_tile=OUTPUT_TILE, input_tile=INPUT_TILE,
        )  # fmt: skip
    return y
