"""Recorded decode steps, with a recorder that stands for CUDA's: what is filled in, what is replayed, what is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from tiny_models import BLOCK_TOKENS, prompt_of, rest, step_of

from server.engine.decode_graphs import DecodeGraphs
from server.engine.step_layout import StepLayout, lay_out

SPARE_SLOT = 999


def compute(layout: StepLayout) -> torch.Tensor:
    """[batch, 2] of everything that a forward pass reads."""
    assert layout.decode is not None
    places = torch.arange(layout.decode.slots.shape[1])[None] < layout.decode.num_visible[:, None]
    seen = (layout.decode.slots * places).sum(1)
    return torch.stack((layout.token_ids[0] * 1000 + layout.positions[0], seen + layout.write_slots), 1).float()


class Recorder:
    """Runs `compute`; what ran while a graph was open is what the graph repeats, into the same memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_recorded = 0
        self.fails = False
        self._open: FakeGraph | None = None
        stream = contextlib.nullcontext()
        for name, value in {
            "graph_pool_handle": lambda: "pool",
            "Stream": FakeStream,
            "current_stream": FakeStream,
            "stream": lambda _: stream,
            "CUDAGraph": FakeGraph,
            "graph": self.graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @contextlib.contextmanager
    def graph(self, graph: FakeGraph, pool: str) -> Iterator[None]:
        assert pool == "pool"
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._open = graph
        yield
        self._open = None
        self.num_recorded += 1

    def forward(self, layout: StepLayout) -> torch.Tensor:
        logits = compute(layout)
        if self._open is not None:
            self._open.recorded = layout, logits
        return logits


class FakeStream:
    def wait_stream(self, other: object) -> None:
        pass


class FakeGraph:
    recorded: tuple[StepLayout, torch.Tensor]

    def replay(self) -> None:
        layout, logits = self.recorded
        logits.copy_(compute(layout))


def decode_step(*lengths: int) -> StepLayout:
    segments = [rest(index, prompt_of(length), length - 1) for index, length in enumerate(lengths)]
    return lay_out(step_of(*segments), BLOCK_TOKENS, torch.device("cpu"))


def test_a_replay_computes_with_what_the_step_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs = DecodeGraphs(recorder.forward, SPARE_SLOT)
    for lengths in ((3, 9, 40), (12, 2, 5), (1, 2, 3, 4), (7, 7, 30)):  # all of one shape
        layout = decode_step(*lengths)
        torch.testing.assert_close(graphs.run(layout), compute(layout))
    assert recorder.num_recorded == 1
    graphs.run(decode_step(3))
    assert recorder.num_recorded == 2


def test_where_nothing_can_be_recorded_steps_run_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(monkeypatch)
    recorder.fails = True
    graphs = DecodeGraphs(recorder.forward, SPARE_SLOT)
    for lengths in ((3, 9, 40), (12, 2, 5)):
        layout = decode_step(*lengths)
        torch.testing.assert_close(graphs.run(layout), compute(layout))
    assert caplog.text.count("graphs.off") == 1
    assert "not permitted" in caplog.text
