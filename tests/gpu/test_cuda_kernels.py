"""Our kernels and FlashAttention's on a CUDA device equal torch's operators, at the production models' shapes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from server.engine.model import attention_backends
from server.engine.model.attention_backends import choose_backend
from server.engine.model.linear import quantise
from server.engine.model.step_layout import DecodeRows, Spans
from server.engine.weights.head_geometry import HeadGeometry

HAS_AMPERE = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    pytest.mark.skipif(not HAS_AMPERE, reason="bfloat16 kernels need a device of capability 8.0"),
]

DEVICE = torch.device("cuda", 0)
HEADS = [(16, 96), (4, 256), (8, 64)]  # a rank's share: GPT-NeoX-20B and GPT-J-6B on four ranks, a small model
NUM_SLOTS = 40_000
GROUP = 3  # query heads that share keys and values


@pytest.fixture(params=HEADS, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def stored(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return tuple(torch.randn(NUM_SLOTS, *request.param, device=DEVICE).to(torch.bfloat16) for _ in range(2))  # type: ignore[return-value]


def test_the_kernels_are_what_a_rank_uses(stored: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, kv_heads, head_dim = stored[0].shape
    geometry = HeadGeometry(GROUP * kv_heads, kv_heads, head_dim, head_dim**-0.5)
    backend = choose_backend(geometry, torch.bfloat16, DEVICE, own_kernels=True)
    assert backend.decode.__name__ == "decode_by_kernel"
    assert backend.spans is attention_backends.spans_by_flash


@pytest.mark.parametrize("lengths", [(1,), (2048,), (1, 255, 256, 257, 2000), tuple(range(100, 2020, 60))])
def test_decodes_equal_the_fused_operator(stored: tuple[torch.Tensor, torch.Tensor], lengths: tuple[int, ...]) -> None:
    from server.engine.model.triton_decode import decode_by_kernel

    keys, values = stored
    slots = torch.stack([torch.randperm(NUM_SLOTS, device=DEVICE)[: max(lengths)] for _ in lengths])
    decode = DecodeRows(torch.arange(len(lengths), device=DEVICE), slots, torch.tensor(lengths, device=DEVICE))
    query = torch.randn(len(lengths), GROUP * keys.shape[1], keys.shape[2], device=DEVICE).to(torch.bfloat16)
    scale = keys.shape[-1] ** -0.5
    found = decode_by_kernel(query, keys, values, decode, scale)
    expected = attention_backends.decode_by_sdpa(query, keys, values, decode, scale)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.02)


def test_spans_equal_the_fused_operator(stored: tuple[torch.Tensor, torch.Tensor]) -> None:
    keys, values = stored
    queries, visible = (400, 2, 512, 9), (400, 900, 2000, 9)
    starts = torch.zeros(2, 5, dtype=torch.int32)
    starts[:, 1:] = torch.tensor((queries, visible)).cumsum(1)
    starts = starts.to(DEVICE)
    rows = torch.randperm(sum(queries), device=DEVICE)
    slots = torch.randperm(NUM_SLOTS, device=DEVICE)[: sum(visible)]
    spans = Spans(rows, slots, starts[0], starts[1], queries, visible)
    query = torch.randn(sum(queries), GROUP * keys.shape[1], keys.shape[2], device=DEVICE).to(torch.bfloat16)
    scale = keys.shape[-1] ** -0.5
    found = attention_backends.spans_by_flash(query, keys, values, spans, scale)
    expected = attention_backends.spans_by_sdpa(query, keys, values, spans, scale)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.02)


@pytest.mark.parametrize("rows", [0, 1, 7, 16, 33, 64, 65, 500])
@pytest.mark.parametrize(("outputs", "inputs"), [(4608, 6144), (50432, 1536), (6144, 1537), (33, 40)])
def test_int8_products_equal_widened_weights(rows: int, outputs: int, inputs: int) -> None:
    from server.engine.model.triton_int8 import int8_linear

    torch.manual_seed(rows)
    weight, scales = quantise(torch.randn(outputs, inputs, device=DEVICE).to(torch.bfloat16))
    x = torch.randn(rows, inputs, device=DEVICE).to(torch.bfloat16)
    expected = linear(x.float(), weight.float() * scales.float()[:, None])
    off = (int8_linear(x, weight, scales).float() - expected).norm()
    assert float(off) <= 0.01 * float(expected.norm())
