"""The sum over the ranks that AutoTP's row-parallel layers end in."""

from __future__ import annotations

import torch
from deepspeed import comm
from torch import Tensor
from torch import distributed as dist

from server.engine.parallel.processor import Level, processor_level


class AllReduce:
    """Sums a tensor over all ranks in place, through DeepSpeed's shared-memory operator where it can.

    That operator silently skips what is not contiguous, ignores process groups and is not thread-safe: every rank
    makes the same calls in the same order from one thread. What it does in half precision needs AVX-512; without it
    the process would die of an illegal instruction, so tensors are widened first.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1

    def __call__(self, tensor: Tensor) -> None:
        """Sum `tensor` in place."""
        if self.world == 1:
            return
        assert tensor.is_contiguous(), tensor.stride()
        if tensor.device.type == "cpu" and tensor.dtype != torch.float32 and processor_level() < Level.VNNI:
            wide = tensor.float()
            comm.inference_all_reduce(wide)
            tensor.copy_(wide)
        else:
            comm.inference_all_reduce(tensor)

    def start_of(self, size: int) -> int:
        """Where this rank's part begins when rank after rank holds `size` of a whole, which may differ by rank."""
        sizes = torch.zeros(self.world, dtype=torch.int64)
        sizes[self.rank] = size
        dist.all_reduce(sizes)
        return int(sizes[: self.rank].sum())
