"""Recorded decode steps, with a recorder that stands for CUDA's: what is filled in, what is replayed, what is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from server.engine.model.decode_graphs import DecodeGraphs
from server.engine.model.step_layout import StepLayout, lay_out
from tests.unit.engine.tiny_models import BLOCK_TOKENS, prompt_of, rest, step_of

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
        self.streams: list[object] = []
        self.rows: list[int] = []  # of each step that ran
        self._open: FakeGraph | None = None
        stream = contextlib.nullcontext()
        for name, value in {
            "graph_pool_handle": lambda: "pool",
            "Stream": FakeStream,
            "current_stream": FakeStream,
            "stream": lambda _: stream,
            "set_stream": self.streams.append,
            "CUDAGraph": FakeGraph,
            "graph": self.graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @contextlib.contextmanager
    def graph(self, graph: FakeGraph, pool: str, stream: FakeStream) -> Iterator[None]:
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
        else:
            self.rows.append(len(logits))
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


def graphs_of(recorder: Recorder, longest: int | None = None, *, peers_can: bool = True) -> DecodeGraphs:
    return DecodeGraphs(recorder.forward, SPARE_SLOT, lambda holds: holds and peers_can, longest)


def test_a_replay_computes_with_what_the_step_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs = graphs_of(recorder)
    for lengths in ((3, 9, 40), (12, 2, 5), (1, 2, 3, 4), (7, 7, 30)):  # all of one shape
        layout = decode_step(*lengths)
        torch.testing.assert_close(graphs.run(layout), compute(layout))
    assert recorder.num_recorded == 1
    graphs.run(decode_step(3))
    assert recorder.num_recorded == 2


def test_graphs_of_one_length_are_recorded_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs = graphs_of(recorder, longest=2000)
    graphs.record_up_to(5, torch.device("cpu"))
    assert recorder.num_recorded == 4  # of 1, 2, 4 and 8 rows
    for lengths in ((3, 90, 40, 7, 7), (12,), (1, 2)):
        layout = decode_step(*lengths)
        torch.testing.assert_close(graphs.run(layout), compute(layout))
    assert recorder.num_recorded == 4


def test_graphs_of_many_lengths_are_recorded_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs_of(recorder).record_up_to(5, torch.device("cpu"))
    assert recorder.num_recorded == 0


def test_where_nothing_can_be_recorded_steps_run_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(monkeypatch)
    recorder.fails = True
    graphs = graphs_of(recorder)
    for lengths in ((3, 9, 40), (12, 2, 5)):
        layout = decode_step(*lengths)
        torch.testing.assert_close(graphs.run(layout), compute(layout))
    assert caplog.text.count("graphs.off") == 1
    assert "not permitted" in caplog.text
    assert len(recorder.streams) == 1, "a failed capture leaves its own stream current"


def test_a_rank_that_could_record_goes_without_where_a_peer_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs = graphs_of(recorder, peers_can=False)
    for lengths in ((3, 9, 40), (12, 2, 5)):
        layout = decode_step(*lengths)
        torch.testing.assert_close(graphs.run(layout), compute(layout))
    assert recorder.num_recorded == 1, "tried once"
    assert recorder.rows == [4] * 4, "two to warm up, then padded steps: a peer's all-reduce is as long"
