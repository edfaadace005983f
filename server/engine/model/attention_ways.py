"""Which ways of attending a rank uses, settled once at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from server.engine.model.attend import decode_by_products, decode_by_sdpa, spans_by_flash, spans_by_sdpa
from server.engine.model.proven import proven
from server.engine.model.step_layout import DecodeRows, Spans

# (query, keys, values, what each token sees, scale)
SpansWay = Callable[[Tensor, Tensor, Tensor, Spans, float], Tensor]
DecodeWay = Callable[[Tensor, Tensor, Tensor, DecodeRows, float], Tensor]

_FLASH_CAPABILITY = (8, 0)
_MAX_FLASH_HEAD = 256


@dataclass(frozen=True)
class Ways:
    """How segments of several tokens attend, and how single tokens do.

    `decodes_in_place`: single tokens read what they see where it lies, and nothing else.
    """

    spans: SpansWay = spans_by_sdpa
    decode: DecodeWay = decode_by_products
    decodes_in_place: bool = False


def choose_ways(heads: int, head_dim: int, dtype: torch.dtype, device: torch.device, *, own_kernels: bool) -> Ways:
    """The quickest that work there; without `own_kernels` torch's alone."""
    if device.type == "cpu":
        return Ways()
    sample = _Sample(heads, head_dim, dtype, device)
    decode = _kernel_or_sdpa(sample) if own_kernels else decode_by_sdpa
    return Ways(
        spans_by_flash if _has_flash(head_dim, dtype, device) and sample.proves_flash() else spans_by_sdpa,
        decode,
        decodes_in_place=decode is not decode_by_sdpa,
    )


def _has_flash(head_dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    fits = dtype in (torch.float16, torch.bfloat16) and head_dim % 8 == 0 and head_dim <= _MAX_FLASH_HEAD
    return fits and torch.cuda.get_device_capability(device) >= _FLASH_CAPABILITY


def _kernel_or_sdpa(sample: _Sample) -> DecodeWay:
    try:
        from server.engine.model.triton_decode import decode_by_kernel
    except ImportError:  # a build of torch without Triton
        return decode_by_sdpa
    return decode_by_kernel if sample.proves_decode(decode_by_kernel) else decode_by_sdpa


class _Sample:
    """Random keys, values and queries: two chunks behind other tokens, and three sequences of one token."""

    _NUM_SLOTS = 640

    def __init__(self, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)

        def normal(rows: int) -> Tensor:
            return torch.randn(rows, heads, head_dim, generator=generator).to(device, dtype)

        self._keys, self._values, self._query = normal(self._NUM_SLOTS), normal(self._NUM_SLOTS), normal(64)
        self._scale = head_dim**-0.5
        self._slots = torch.randperm(self._NUM_SLOTS, generator=generator).to(device)

    def proves_flash(self) -> bool:
        """Whether FlashAttention gives what torch's fused operator gives."""
        device = self._slots.device
        starts = torch.tensor([[0, 40, 57], [0, 100, 117]], dtype=torch.int32, device=device)
        spans = Spans(torch.arange(57, device=device), self._slots[:117], starts[0], starts[1], (40, 17), (100, 17))
        return proven(spans_by_flash, spans_by_sdpa, self._query, self._keys, self._values, spans, self._scale)

    def proves_decode(self, kernel: DecodeWay) -> bool:
        """Whether `kernel` gives what torch's fused operator gives."""
        device = self._slots.device
        slots = torch.stack((self._slots[:600], self._slots[-600:], self._slots[20:620]))
        decode = DecodeRows(torch.arange(3, device=device), slots, torch.tensor([1, 256, 600], device=device))
        return proven(kernel, decode_by_sdpa, self._query, self._keys, self._values, decode, self._scale)
