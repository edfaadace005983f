"""What a package holds of a parameter: one tensor, or the parts of its four bits; and whole parameters read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from server.dtypes import DTYPES, WeightKind
from server.engine.weights.cut_plan import ParameterPlan
from server.engine.weights.int4 import Int4Weight, quantise_int4
from server.engine.weights.safetensors_writer import TensorSpec
from server.engine.weights.sources import Cut, RankFiles, int4_names


def specs_of(name: str, plan: ParameterPlan, rank: int, *, dtype: str) -> list[TensorSpec]:
    """The tensors that a package of `dtype` holds of the share of `rank`."""
    shape = plan.share_shape(rank)
    if not (plan.is_matrix and DTYPES[dtype].kind is WeightKind.INT4):
        return [TensorSpec(name, shape, getattr(torch, DTYPES[dtype].compute))]
    parts = (*Int4Weight.shapes(*shape), ((1,), torch.int32))
    return [TensorSpec(part, *spec) for part, spec in zip(int4_names(name), parts, strict=True)]


def parts_of(share: Tensor, num_specs: int) -> tuple[Tensor, ...]:
    """`share` as its specs say: itself, or rounded to four bits."""
    if num_specs == 1:
        return (share,)
    return (*quantise_int4(share), torch.tensor([share.shape[1]], dtype=torch.int32))


class PackagedWhole:
    """The whole parameters of a package, put together from the shares of its ranks, as they will be served."""

    def __init__(self, folder: Path, plans: Mapping[str, ParameterPlan], degree: int) -> None:
        self._plans = plans
        self._ranks = [RankFiles(folder, rank) for rank in range(degree)]

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """Parameter `name`, or the rows that `cut` says."""
        assert cut is None or cut.dim == 0, cut
        plan = self._plans[name]
        start, stop = (None, None) if cut is None else (cut.start, cut.stop)
        if plan.dim is None:
            return self._ranks[0].rows(name, start, stop)
        if plan.dim == 0:
            return torch.cat(list(self._overlapping(name, plan.sizes, start=start or 0, stop=stop)))
        return torch.cat([rank.rows(name, start, stop) for rank in self._ranks], plan.dim)

    def _overlapping(self, name: str, sizes: tuple[int, ...], start: int, stop: int | None) -> Iterator[Tensor]:
        first = 0
        for rank, size in zip(self._ranks, sizes, strict=True):
            low, high = max(start - first, 0), size if stop is None else min(stop - first, size)
            if low < high:
                yield rank.rows(name, low, high)
            first += size
