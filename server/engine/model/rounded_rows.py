"""Keys or values of one byte on the torch path: each slot's head with its own scale, as in the native kernels."""

from __future__ import annotations

import torch
from torch import Tensor


class RoundedRows:
    """[num_slots, kv_heads, head_dim] of bytes that are read as `dtype`: in the place of a tensor of it.

    Attributes:
        bytes: int8 [num_slots, kv_heads, head_dim].
        scales: [num_slots, kv_heads] in `dtype`.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        # Written at once, so that the memory is taken now and not in the middle of some request.
        self.bytes = torch.empty(shape, dtype=torch.int8, device=device).zero_()
        self.scales = torch.empty(shape[:2], dtype=dtype, device=device).zero_()
        self.shape = self.bytes.shape
        self.dtype = dtype

    @property
    def nbytes(self) -> int:
        """Of bytes and scales."""
        return self.bytes.nbytes + self.scales.nbytes

    def index_copy_(self, dim: int, slots: Tensor, rows: Tensor) -> None:
        """Round `rows` [num_rows, kv_heads, head_dim] into `slots`; what is no number stays none."""
        assert dim == 0, dim
        exact = rows.float()
        scales = (exact.abs().amax(-1) / 127).clamp_min(1e-20).to(self.dtype)
        rounded = (exact / scales.float()[..., None]).nan_to_num().round().clamp(-127, 127)
        self.bytes.index_copy_(0, slots, rounded.to(torch.int8))
        self.scales.index_copy_(0, slots, scales)

    def index_select(self, dim: int, slots: Tensor) -> Tensor:
        """[num_slots, kv_heads, head_dim] of `slots`, in `dtype`."""
        assert dim == 0, dim
        return self.bytes.index_select(0, slots).to(self.dtype) * self.scales.index_select(0, slots)[..., None]


Rows = Tensor | RoundedRows  # what attention backends read keys and values from
