"""A model step as index tensors: which token goes where, and what each one sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from server.engine.step import ModelStep, Segment


@dataclass(frozen=True)
class Span:
    """One segment in the packed step: queries [start, stop), which see `slots` causally from the right."""

    start: int
    stop: int
    slots: Tensor  # [num_visible], the last (stop - start) of them are the queries' own


@dataclass(frozen=True)
class DecodeRows:
    """The segments of a single token, together."""

    rows: Tensor  # [batch] their places in the packed step
    slots: Tensor  # [batch, longest] visible slots, padded with 0 on the right
    num_visible: Tensor  # [batch]


@dataclass(frozen=True)
class StepLayout:
    """Everything a forward pass needs of a model step."""

    token_ids: Tensor  # [1, num_tokens]
    positions: Tensor  # [1, num_tokens]
    write_slots: Tensor  # [num_tokens]
    logit_rows: Tensor  # [num_rows]
    spans: tuple[Span, ...]
    decode: DecodeRows | None

    @property
    def is_decode(self) -> bool:
        """Whether every segment is a single token with logits."""
        return not self.spans and self.logit_rows.numel() == self.token_ids.shape[1]


def lay_out(step: ModelStep, block_tokens: int, device: torch.device) -> StepLayout:
    """The tensors of one model step, on `device`."""
    offsets = np.arange(block_tokens, dtype=np.int64)
    ids: list[int] = []
    positions, writes, rows, visible, starts = [], [], [], [], []
    for segment in step.segments:
        table = (np.asarray(segment.blocks, dtype=np.int64)[:, None] * block_tokens + offsets).reshape(-1)
        start, count = len(ids), len(segment.tokens)
        starts.append(start)
        ids.extend(segment.tokens)
        positions.append(np.arange(segment.position, segment.position + count))
        writes.append(table[segment.entry : segment.entry + count])
        rows.append(np.arange(start + count - segment.num_logits, start + count))
        visible.append(_visible(segment, table))
    return StepLayout(
        token_ids=torch.tensor([ids], dtype=torch.long, device=device),
        positions=_tensor(positions, device)[None],
        write_slots=_tensor(writes, device),
        logit_rows=_tensor(rows, device),
        spans=_spans(step, starts, visible, device),
        decode=_decode_rows(step, starts, visible, device),
    )


def _visible(segment: Segment, table: np.ndarray) -> np.ndarray:
    last = segment.entry + len(segment.tokens)
    if segment.num_context == segment.entry and not segment.ancestors:
        return table[:last]
    ancestors = table[np.asarray(segment.ancestors, dtype=np.int64)] if segment.ancestors else table[:0]
    return np.concatenate((table[: segment.num_context], ancestors, table[segment.entry : last]))


def _spans(step: ModelStep, starts: list[int], visible: list[np.ndarray], device: torch.device) -> tuple[Span, ...]:
    return tuple(
        Span(start, start + len(segment.tokens), torch.from_numpy(slots).to(device))
        for segment, start, slots in zip(step.segments, starts, visible, strict=True)
        if len(segment.tokens) > 1
    )


def _decode_rows(
    step: ModelStep, starts: list[int], visible: list[np.ndarray], device: torch.device
) -> DecodeRows | None:
    single = [index for index, segment in enumerate(step.segments) if len(segment.tokens) == 1]
    if not single:
        return None
    counts = np.array([len(visible[index]) for index in single])
    slots = np.zeros((len(single), int(counts.max())), dtype=np.int64)
    for row, index in enumerate(single):
        slots[row, : counts[row]] = visible[index]
    rows = torch.tensor([starts[index] for index in single], device=device)
    return DecodeRows(rows, torch.from_numpy(slots).to(device), torch.from_numpy(counts).to(device))


def _tensor(parts: list[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(device)


def pad_decode(layout: StepLayout, batch: int, longest: int, spare_slot: int) -> StepLayout:
    """A decode step as one of a fixed shape: `batch` tokens that see up to `longest` slots each.

    What is added writes to and sees `spare_slot` only, which no sequence uses; its logits mean nothing.
    """
    decode, device = layout.decode, layout.token_ids.device
    assert layout.is_decode, layout
    assert decode is not None, layout
    rows, old = torch.arange(batch, device=device), decode.rows.numel()
    slots = torch.full((batch, longest), spare_slot, device=device)
    slots[:old, : decode.slots.shape[1]] = decode.slots
    missing = (0, batch - old)
    return StepLayout(
        token_ids=pad(layout.token_ids, missing),
        positions=pad(layout.positions, missing),
        write_slots=pad(layout.write_slots, missing, value=spare_slot),
        logit_rows=rows,
        spans=(),
        decode=DecodeRows(rows, slots, pad(decode.num_visible, missing, value=1)),
    )
