"""Which kind of device a group runs on: all its ranks on the same."""

from __future__ import annotations

import torch


def device_kind(wanted: str, world: int) -> str:
    """Cuda or cpu, where `wanted` is auto, cpu or cuda: a GPU only where each of `world` ranks has one of its own."""
    has_all = wanted != "cpu" and torch.cuda.is_available() and torch.cuda.device_count() >= world
    return "cuda" if has_all else "cpu"
