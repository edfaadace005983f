"""A model step as the flat arrays that the native kernels read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from server.engine.parallel.sampled_tokens import resolve
from server.engine.schedule.step import ModelStep, Segment


class NativeLayout:
    """The arrays of one step; `pointers` and `rows_pointer` are valid as long as the object lives."""

    def __init__(self, step: ModelStep, block_tokens: int, sampled_before: Tensor | None = None) -> None:
        segments = step.segments
        self._shapes = np.array([_shape(segment) for segment in segments], dtype=np.int32)
        self._tokens = _flat(segment.tokens for segment in segments)
        if self._tokens.min() < 0:
            assert sampled_before is not None, "a pending token needs the step before"
            self._tokens = resolve(torch.from_numpy(self._tokens), sampled_before).to(torch.int32).numpy()
        self._blocks = _flat(segment.blocks for segment in segments)
        self._ancestors = _flat(segment.ancestors for segment in segments)
        self._rows = _logit_rows(self._shapes[:, 0], np.array([segment.num_logits for segment in segments]))
        self.num_tokens = len(self._tokens)
        self.num_rows = len(self._rows)
        arrays = (self._shapes, self._tokens, self._blocks, self._ancestors)
        self.pointers = (len(segments), *(array.ctypes.data for array in arrays), block_tokens)
        self.rows_pointer = self._rows.ctypes.data

    def check(self, vocab_size: int, num_positions: int, num_slots: int) -> None:
        """Assert that the kernels, which do not look, stay within the model's tables."""
        block_tokens = self.pointers[-1]
        assert 0 <= self._tokens.min() <= self._tokens.max() < vocab_size, (self._tokens, vocab_size)
        assert (self._shapes[:, 0] + self._shapes[:, 1]).max() <= num_positions, (self._shapes, num_positions)
        assert (self._blocks.max() + 1) * block_tokens <= num_slots, (self._blocks, num_slots)
        counts, _, entries, contexts, num_blocks, num_ancestors = self._shapes.T
        # One entry past a segment's own table is the next segment's block: somebody else's keys.
        assert (entries + counts <= num_blocks * block_tokens).all(), (self._shapes, block_tokens)
        assert (contexts <= entries).all(), self._shapes
        if len(self._ancestors):
            assert (self._ancestors < np.repeat(entries, num_ancestors)).all(), (self._ancestors, self._shapes)
            assert self._ancestors.min() >= 0, self._ancestors


def _shape(segment: Segment) -> tuple[int, ...]:
    """`StepSegment` of model.h."""
    counts = (len(segment.tokens), segment.position, segment.entry, segment.num_context)
    return (*counts, len(segment.blocks), len(segment.ancestors))


def _flat(parts: Iterable[tuple[int, ...]]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(parts), dtype=np.int32)


def _logit_rows(counts: np.ndarray, num_logits: np.ndarray) -> np.ndarray:
    """The last `num_logits` rows of every segment, in segment order."""
    stops = np.cumsum(counts)
    starts_of_rows = np.cumsum(num_logits) - num_logits
    first = np.repeat(stops - num_logits - starts_of_rows, num_logits)
    return (first + np.arange(num_logits.sum())).astype(np.int32)
