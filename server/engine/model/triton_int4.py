"""Products with int4 weights, every 32 inputs with their own scale and zero, on a GPU in Triton.

As `triton_int8`, with half the bytes to read: a kernel widens them in registers for up to 64 rows, a prompt widens the
matrix once and leaves the product to the device.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import linear

from server.engine.weights.int4 import Int4Weight, widened

MOST_ROWS = 64  # of the kernel; more rows are a prompt's
ROW_TILE, OUTPUT_TILE, INPUT_TILE = 16, 32, 128


@triton.jit(do_not_specialize=["num_rows"])
def multiply_int4(
    x, halves, steps, zeros, scales, y, num_rows, num_outputs, num_inputs, num_groups,
    row_tile: tl.constexpr, output_tile: tl.constexpr, input_tile: tl.constexpr,
):  # fmt: skip
    """Program (output tile, row tile): y = x W^T, summed in float32; low and high halves are two products."""
    output = tl.program_id(0) * output_tile + tl.arange(0, output_tile)
    row = tl.program_id(1) * row_tile + tl.arange(0, row_tile)
    in_outputs, in_rows = output < num_outputs, row < num_rows
    sums = tl.zeros((row_tile, output_tile), tl.float32)
    place_of_output = output[None, :].to(tl.int64)
    for first in range(0, num_groups * 16, input_tile // 2):
        at = first + tl.arange(0, input_tile // 2)  # of bytes
        group = at // 16
        there = (group < num_groups)[:, None] & in_outputs[None, :]
        both = tl.load(halves + place_of_output * num_groups * 16 + at[:, None], mask=there, other=0)
        at_group = place_of_output * num_groups + group[:, None]
        step = tl.load(steps + at_group, mask=there, other=0).to(tl.float32)
        zero = tl.load(zeros + at_group, mask=there, other=0).to(tl.float32) * (1.0 / 16)
        low = ((both & 15).to(tl.float32) - zero) * step
        high = ((both >> 4).to(tl.float32) - zero) * step
        place = group * 32 + at % 16  # of the low half's input
        of_row = x + row[:, None] * num_inputs + place[None, :]
        firsts = tl.load(of_row, mask=in_rows[:, None] & (place < num_inputs)[None, :], other=0.0)
        seconds = tl.load(of_row + 16, mask=in_rows[:, None] & (place + 16 < num_inputs)[None, :], other=0.0)
        sums += tl.dot(firsts, low.to(firsts.dtype)) + tl.dot(seconds, high.to(firsts.dtype))
    sums *= tl.load(scales + output, mask=in_outputs, other=0.0)[None, :]
    at_result = row[:, None].to(tl.int64) * num_outputs + output[None, :]
    tl.store(y + at_result, sums, mask=in_rows[:, None] & in_outputs[None, :])


def int4_linear(x: Tensor, weight: Int4Weight) -> Tensor:
    """[rows, inputs] by `weight`, in the dtype of x; all contiguous."""
    num_rows, num_inputs = x.shape
    if num_rows > MOST_ROWS:
        return linear(x, widened(weight, num_inputs, x.dtype))
    num_outputs, num_groups = weight.steps.shape
    y = x.new_empty(num_rows, num_outputs)
    if num_rows:  # an empty launch is an error
        grid = triton.cdiv(num_outputs, OUTPUT_TILE), triton.cdiv(num_rows, ROW_TILE)
        multiply_int4[grid](
            x, *weight, y, num_rows, num_outputs, num_inputs, num_groups,
            row_tile=ROW_TILE, output_tile=OUTPUT_TILE, input_tile=INPUT_TILE,
        )  # fmt: skip
    return y
