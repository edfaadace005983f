"""Decode steps recorded once as CUDA graphs and replayed: one launch instead of hundreds for a few tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from server.engine.model.step_layout import DecodeRows, StepLayout, pad_decode

log = logging.getLogger(__name__)

_SLOTS_STEP = 256
_WARM_UPS = 2


@dataclass(frozen=True)
class _Graph:
    layout: StepLayout  # read by the graph; filled before every replay
    graph: torch.cuda.CUDAGraph
    logits: Tensor  # written by the graph


class DecodeGraphs:
    """Graphs of `forward`, one for each shape of decode step: sizes are rounded up to few shapes.

    All ranks record the same shapes at the same steps, and use a graph only when every rank could record it: a rank
    without would make other calls of the all-reduce.

    Args:
        forward: computes a layout.
        spare_slot: a slot that no sequence uses.
        agree: whether what it is given holds on every rank.
        longest: the one number of slots that all graphs are made for; None where attention reads what is not visible
            too, and shapes of several sizes are worth their memory.
    """

    def __init__(
        self,
        forward: Callable[[StepLayout], Tensor],
        spare_slot: int,
        agree: Callable[[bool], bool],
        longest: int | None = None,
    ) -> None:
        self._forward = forward
        self._spare_slot = spare_slot
        self._agree = agree
        self._longest = longest
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._can_record = True
        # One pool of memory for all of them: no two run at once, and each keeps only its logits.
        self._pool = torch.cuda.graph_pool_handle()
        self._aside = torch.cuda.Stream()

    def record_up_to(self, max_rows: int, device: torch.device) -> None:
        """Where all graphs are of one length, record those of up to `max_rows` rows now: no reply waits for them."""
        if self._longest is None:
            return
        rows = 1
        while rows < 2 * max_rows:
            self.run(_idle_decode(rows, self._spare_slot, device))
            rows *= 2

    def run(self, layout: StepLayout) -> Tensor:
        """Logits [batch, vocab] of a decode step; valid until the next call."""
        assert layout.decode is not None, layout
        batch, longest = layout.decode.slots.shape
        shape = rounded_shape(batch, max(longest, self._longest or 0))
        padded = pad_decode(layout, *shape, self._spare_slot)
        graph = self._graphs.get(shape)
        if graph is None and self._can_record:
            graph = self._record(padded, shape)
        if graph is None:
            return self._forward(padded)[:batch]
        _fill(graph.layout, padded)
        graph.graph.replay()
        return graph.logits[:batch]

    def _record(self, layout: StepLayout, shape: tuple[int, int]) -> _Graph | None:
        """The new graph; None, and no more are tried, when a rank could not record it."""
        self._warm_up(layout)
        graph, before = None, torch.cuda.current_stream()
        try:
            graph = self._capture(layout)
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # a failed capture leaves its own behind
            log.warning("graphs.off why=%r: decode steps run without", str(error.__context__ or error))
        if not self._agree(graph is not None):
            self._can_record = False
            return None
        assert graph is not None, "every rank has it"
        self._graphs[shape] = graph
        return graph

    def _warm_up(self, layout: StepLayout) -> None:
        """First calls allocate and choose kernels, which a graph must not."""
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            for _ in range(_WARM_UPS):
                self._forward(layout)
        torch.cuda.current_stream().wait_stream(self._aside)

    def _capture(self, layout: StepLayout) -> _Graph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._aside):
            logits = self._forward(layout)
        return _Graph(layout, graph, logits)


def rounded_shape(batch: int, longest: int) -> tuple[int, int]:
    """The graph's shape for a decode step: a power of two rows, a multiple of 256 slots."""
    return 1 << (batch - 1).bit_length(), -(-longest // _SLOTS_STEP) * _SLOTS_STEP


def _idle_decode(rows: int, spare_slot: int, device: torch.device) -> StepLayout:
    """`rows` tokens of nobody."""
    zeros, places = torch.zeros(1, rows, dtype=torch.long, device=device), torch.arange(rows, device=device)
    spare = torch.full((rows,), spare_slot, device=device)
    return StepLayout(
        zeros,
        zeros,
        spare,
        logit_rows=places,
        spans=(),
        decode=DecodeRows(places, spare[:, None], torch.ones_like(places)),
    )


def _fill(static: StepLayout, layout: StepLayout) -> None:
    for name in ("token_ids", "positions", "write_slots"):
        getattr(static, name).copy_(getattr(layout, name))
    into, values = static.decode, layout.decode
    assert isinstance(into, DecodeRows), static
    assert isinstance(values, DecodeRows), layout
    into.slots.copy_(values.slots)
    into.num_visible.copy_(values.num_visible)
