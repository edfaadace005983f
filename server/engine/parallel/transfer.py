"""Between the host and a rank's device, without either waiting for the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """`values` on `device`; what is queued there goes on meanwhile. On the CPU they are not copied."""
    tensor = torch.from_numpy(values)
    if device.type == "cpu":
        return tensor
    # From pageable memory the copy would wait for everything that is queued. torch keeps the page until it is done.
    return tensor.pin_memory().to(device, non_blocking=True)


class Readback:
    """Results of a step on their way to the host."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._host = list(tensors)
        if device.type == "cuda":  # also when there is nothing to read: the step must have run
            self._host = [_pinned_copy(each) for each in tensors]
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def values(self) -> list[list[Any]]:
        """The tensors as lists, as soon as the step has come this far."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [each.tolist() for each in self._host]


def _pinned_copy(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
