"""Decode steps recorded once as CUDA graphs and replayed: one launch instead of hundreds for a few tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from server.engine.step_layout import DecodeRows, StepLayout, pad_decode

log = logging.getLogger(__name__)

_SLOTS_STEP = 256
_WARM_UPS = 2


@dataclass(frozen=True)
class _Graph:
    layout: StepLayout  # read by the graph; filled before every replay
    graph: torch.cuda.CUDAGraph
    logits: Tensor  # written by the graph


class DecodeGraphs:
    """Graphs of `forward`, one for each shape of decode step that has come up: sizes are rounded up to few shapes.

    Where something cannot be recorded, decode steps run as they are: a rank with graphs and one without make the same
    calls of the all-reduce.
    """

    def __init__(self, forward: Callable[[StepLayout], Tensor], spare_slot: int) -> None:
        self._forward = forward
        self._spare_slot = spare_slot
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._can_record = True
        # One pool of memory for all of them: no two run at once, and each keeps only its logits.
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, layout: StepLayout) -> Tensor:
        """Logits [batch, vocab] of a decode step; valid until the next call."""
        assert layout.decode is not None, layout
        batch, longest = layout.decode.slots.shape
        shape = rounded_shape(batch, longest)
        padded = pad_decode(layout, *shape, self._spare_slot)
        graph = self._graphs.get(shape)
        if graph is None and self._can_record:
            graph = self._try_to_record(padded, shape)
        if graph is None:
            return self._forward(layout)
        _fill(graph.layout, padded)
        graph.graph.replay()
        return graph.logits[:batch]

    def _try_to_record(self, layout: StepLayout, shape: tuple[int, int]) -> _Graph | None:
        try:
            graph = self._graphs[shape] = self._record(layout)
        except RuntimeError as error:
            log.warning("graphs.off why=%r: decode steps run without", str(error))
            self._can_record = False
            return None
        return graph

    def _record(self, layout: StepLayout) -> _Graph:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # first calls allocate and choose kernels, which a graph must not
            for _ in range(_WARM_UPS):
                self._forward(layout)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = self._forward(layout)
        return _Graph(layout, graph, logits)


def rounded_shape(batch: int, longest: int) -> tuple[int, int]:
    """The graph's shape for a decode step: a power of two rows, a multiple of 256 slots."""
    return 1 << (batch - 1).bit_length(), -(-longest // _SLOTS_STEP) * _SLOTS_STEP


def _fill(static: StepLayout, layout: StepLayout) -> None:
    for name in ("token_ids", "positions", "write_slots"):
        getattr(static, name).copy_(getattr(layout, name))
    into, values = static.decode, layout.decode
    assert isinstance(into, DecodeRows), static
    assert isinstance(values, DecodeRows), layout
    into.slots.copy_(values.slots)
    into.num_visible.copy_(values.num_visible)
