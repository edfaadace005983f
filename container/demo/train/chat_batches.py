"""Batches of sessions, cut so that rows of one batch have like lengths; each a function of seed and step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from container.demo.data.sessions import (
    BACKGROUND_LOSS,
    DECISION_LOSS,
    REPLY_LOSS,
    Encoded,
    SessionEncoder,
    Turn,
    preamble,
)
from container.demo.data.tokenizer import PADDING_ID
from container.demo.train.training import Batch

_BLOCK_STEPS = 8
_LENGTH_STEP = 32  # rows are padded to a multiple of this: few different shapes keep the allocator's memory small
_MOST_REFUSED = 200  # sessions too long to train on, in one block
_WEIGHTS = {BACKGROUND_LOSS: 0.05, REPLY_LOSS: 1.0, DECISION_LOSS: 8.0}
_BACKGROUND_SHARE = 5  # one in so many tokens outside replies counts


class SessionSource(Protocol):
    """What draws sessions, from the generator it was made with."""

    def session(self) -> list[Turn]:
        """The next session."""
        ...


class ChatBatches:
    """Batches of about `batch_tokens` tokens, padding included."""

    def __init__(
        self,
        make_source: Callable[[random.Random], SessionSource],
        encoder: SessionEncoder,
        seed: int,
        batch_tokens: int = 4096,
        longest_tokens: int = 640,
    ) -> None:
        self._make_source = make_source
        self._encoder = encoder
        self._seed = seed
        self._batch_tokens = batch_tokens
        self._longest_tokens = longest_tokens
        self._block: tuple[int, list[list[Encoded]]] = (-1, [])

    def batch(self, step: int) -> Batch:
        """The batch of a step; its block of steps is drawn when its first step is asked for."""
        number, place = divmod(step, _BLOCK_STEPS)
        if self._block[0] != number:
            self._block = (number, self._draw_block(number))
        return _padded(self._block[1][place], step)

    def _draw_block(self, number: int) -> list[list[Encoded]]:
        rng = random.Random(f"{self._seed}/{number}")
        source = self._make_source(rng)
        sessions: list[Encoded] = []
        num_refused = 0
        while sum(len(session.inputs) for session in sessions) < 0.95 * _BLOCK_STEPS * self._batch_tokens:
            session = self._encoder.session(source.session(), preamble(rng))
            if len(session.inputs) <= self._longest_tokens:
                sessions.append(session)
            elif (num_refused := num_refused + 1) > _MOST_REFUSED:
                raise ValueError(f"{num_refused} sessions over {self._longest_tokens} tokens: give shorter ones")
        sessions.sort(key=lambda session: len(session.inputs))
        groups = _cut_evenly(sessions)
        rng.shuffle(groups)
        return groups


def _cut_evenly(sessions: list[Encoded]) -> list[list[Encoded]]:
    """Part sessions, sorted by length, into one group a step with about the same number of tokens."""
    ends = np.cumsum([len(session.inputs) for session in sessions])
    groups: list[list[Encoded]] = [[] for _ in range(_BLOCK_STEPS)]
    for session, end in zip(sessions, ends, strict=True):
        groups[min(_BLOCK_STEPS - 1, int((end - 1) * _BLOCK_STEPS // ends[-1]))].append(session)
    return [group or [sessions[-1]] for group in groups]


def _padded(sessions: list[Encoded], step: int) -> Batch:
    longest = max(len(session.inputs) for session in sessions)
    shape = (len(sessions), -(-longest // _LENGTH_STEP) * _LENGTH_STEP)
    inputs, targets = np.full(shape, PADDING_ID, np.int64), np.zeros(shape, np.int64)
    weights = np.zeros(shape, np.float32)
    for row, session in enumerate(sessions):
        length = len(session.inputs)
        inputs[row, :length], targets[row, :length] = session.inputs, session.targets
        for kind, weight in _WEIGHTS.items():
            weights[row, :length] += np.where(session.kinds == kind, weight, 0.0)
        skipped = (session.kinds == BACKGROUND_LOSS) & ((np.arange(length) + step) % _BACKGROUND_SHARE != 0)
        weights[row, :length][skipped] = 0.0
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(weights))
