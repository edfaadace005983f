"""A model step as index tensors: which token goes where, and what each one sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from server.engine.model.kv_budget import MAX_GATHERED_TOKENS
from server.engine.parallel.sampled_tokens import resolve
from server.engine.parallel.transfer import to_device
from server.engine.schedule.step import ModelStep, Segment


@dataclass(frozen=True)
class Spans:
    """A group of segments of several tokens, one behind the other. The last that each sees are its own tokens."""

    rows: Tensor  # [num_queries] their tokens' places in the packed step
    slots: Tensor  # [num_visible] what each segment sees
    query_starts: Tensor  # [num_spans + 1] int32, in rows
    visible_starts: Tensor  # [num_spans + 1] int32, in slots
    num_queries: tuple[int, ...]  # by segment
    num_visible: tuple[int, ...]

    @cached_property
    def masks(self) -> tuple[Tensor | None, ...]:
        """By segment [queries, visible], causal from the right; None where queries and visible entries are as many."""
        device = self.rows.device
        return tuple(
            None
            if queries == visible
            else torch.ones(queries, visible, dtype=torch.bool, device=device).tril(visible - queries)
            for queries, visible in zip(self.num_queries, self.num_visible, strict=True)
        )


@dataclass(frozen=True)
class DecodeRows:
    """The segments of a single token, together."""

    rows: Tensor  # [batch] their places in the packed step
    slots: Tensor  # [batch, longest] visible slots, padded on the right with the first of each
    num_visible: Tensor  # [batch]


@dataclass(frozen=True)
class StepLayout:
    """Everything a forward pass needs of a model step."""

    token_ids: Tensor  # [1, num_tokens]
    positions: Tensor  # [1, num_tokens]
    write_slots: Tensor  # [num_tokens]
    logit_rows: Tensor  # [num_rows]
    spans: tuple[Spans, ...]  # in groups that see at most MAX_GATHERED_TOKENS slots, or one segment that sees more
    decode: DecodeRows | None

    @property
    def is_decode(self) -> bool:
        """Whether every segment is a single token with logits."""
        return not self.spans and self.logit_rows.numel() == self.token_ids.shape[1]


def lay_out(
    step: ModelStep, block_tokens: int, device: torch.device, sampled_before: Tensor | None = None
) -> StepLayout:
    """The tensors of one model step, on `device`; `sampled_before` for tokens that are pending."""
    drafts = _drafts(step, block_tokens)
    ids = np.fromiter((token for each in drafts for token in each.segment.tokens), np.int64)
    wide, single = [each for each in drafts if each.count > 1], [each for each in drafts if each.count == 1]
    longest = max((len(each.visible) for each in single), default=0)
    token_ids, positions, write_slots, logit_rows, span_rows, span_slots, rows, slots, num_visible = _transfer(
        (
            ids,
            _joined(each.segment.position + np.arange(each.count) for each in drafts),
            _joined(each.writes for each in drafts),
            _joined(each.places[each.count - each.segment.num_logits :] for each in drafts),
            _joined(each.places for each in wide),
            _joined(each.visible for each in wide),
            _joined(each.places for each in single),
            _joined(_padded(each.visible, longest) for each in single),
            np.array([len(each.visible) for each in single], np.int64),
        ),
        device,
    )
    if ids.min() < 0:
        assert sampled_before is not None, "a pending token needs the step before"
        token_ids = resolve(token_ids, sampled_before)
    spans = _spans(wide, span_rows, span_slots)
    decode = DecodeRows(rows, slots.view(len(single), longest), num_visible) if single else None
    return StepLayout(token_ids[None], positions[None], write_slots, logit_rows=logit_rows, spans=spans, decode=decode)


@dataclass(frozen=True)
class _Draft:
    """One segment on the host."""

    segment: Segment
    places: np.ndarray  # in the packed step
    writes: np.ndarray  # slots of its own tokens
    visible: np.ndarray  # slots that its last token sees

    @property
    def count(self) -> int:
        return len(self.segment.tokens)


def _drafts(step: ModelStep, block_tokens: int) -> list[_Draft]:
    offsets, start, drafts = np.arange(block_tokens, dtype=np.int64), 0, []
    for segment in step.segments:
        table = (np.asarray(segment.blocks, dtype=np.int64)[:, None] * block_tokens + offsets).reshape(-1)
        stop = start + len(segment.tokens)
        writes = table[segment.entry : segment.entry + len(segment.tokens)]
        drafts.append(_Draft(segment, np.arange(start, stop), writes, visible=_visible(segment, table)))
        start = stop
    return drafts


def _visible(segment: Segment, table: np.ndarray) -> np.ndarray:
    last = segment.entry + len(segment.tokens)
    if segment.num_context == segment.entry and not segment.ancestors:
        return table[:last]
    ancestors = table[np.asarray(segment.ancestors, dtype=np.int64)] if segment.ancestors else table[:0]
    return np.concatenate((table[: segment.num_context], ancestors, table[segment.entry : last]))


def _spans(wide: list[_Draft], rows: Tensor, slots: Tensor) -> tuple[Spans, ...]:
    groups = _groups(wide)
    num_rows = [sum(each.count for each in group) for group in groups]
    num_slots = [sum(len(each.visible) for each in group) for group in groups]
    return tuple(map(_group_spans, groups, rows.split(num_rows), slots.split(num_slots)))


def _groups(wide: list[_Draft]) -> list[list[_Draft]]:
    """In order, so that no attention gathers more than MAX_GATHERED_TOKENS at once."""
    groups: list[list[_Draft]] = []
    num_gathered = 0
    for each in wide:
        num_gathered += len(each.visible)
        if not groups or num_gathered > MAX_GATHERED_TOKENS:
            groups.append([])
            num_gathered = len(each.visible)
        groups[-1].append(each)
    return groups


def _group_spans(group: list[_Draft], rows: Tensor, slots: Tensor) -> Spans:
    num_queries = tuple(each.count for each in group)
    num_visible = tuple(len(each.visible) for each in group)
    starts = np.zeros((2, len(group) + 1), np.int32)
    starts[:, 1:] = np.cumsum((num_queries, num_visible), axis=1)
    query_starts, visible_starts = to_device(starts, rows.device)
    return Spans(
        rows, slots, query_starts, visible_starts=visible_starts, num_queries=num_queries, num_visible=num_visible
    )


def _padded(slots: np.ndarray, length: int) -> np.ndarray:
    """With a slot of the sequence's own: another's may hold what is no number, and a weight of zero would not help."""
    return np.append(slots, np.full(length - len(slots), slots[0]))


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate((np.empty(0, np.int64), *parts))


def _transfer(arrays: tuple[np.ndarray, ...], device: torch.device) -> tuple[Tensor, ...]:
    """All of them in one copy."""
    return torch.split(to_device(np.concatenate(arrays), device), [len(each) for each in arrays])


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
