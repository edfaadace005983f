"""Batches for the moderation model: a few-shot prefix once a row, then many texts that cannot see each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor

from container.demo.moderation_data import Labelled
from container.demo.tokenizer import PADDING_ID
from container.demo.training import Batch
from server.chat.policy import Policy

_TEXT_TOKENS = 96


class TextSource(Protocol):
    """What draws labelled texts, from the generator it was made with."""

    def text(self) -> Labelled:
        """The next text."""
        ...


@dataclass(frozen=True)
class Row:
    """A prefix and the texts behind it: one token row, the position of each token, and which text it belongs to."""

    ids: list[int]
    targets: list[int]
    weights: list[float]
    positions: list[int]
    owners: list[int]  # 0 for the prefix, then 1, 2, ...


class PromptEncoder:
    """Encodes the policy's prompt piece by piece, as the server does."""

    def __init__(self, tokenizer: Tokenizer, policy: Policy) -> None:
        self._tokenizer = tokenizer
        self._policy = policy

    def prefix(self, policy: Policy | None = None) -> list[int]:
        """The tokens before every text."""
        return self._ids((policy or self._policy).prefix())

    def text(self, text: str) -> list[int]:
        """The tokens of one text with what stands around it; long texts are cut to their first tokens."""
        return self._ids(self._policy.opening) + self._ids(f" {text}")[:_TEXT_TOKENS] + self._ids(self._policy.closing)

    def label(self, label: str) -> list[int]:
        """The tokens that say a label."""
        return self._ids(f" {label}") + self._ids("\n")

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class ModerationBatches:
    """Batches of `rows` rows; a text sees the prefix and itself alone, at the positions it has in service."""

    def __init__(
        self,
        make_source: Callable[[random.Random], TextSource],
        encoder: PromptEncoder,
        policy: Policy,
        seed: int,
        rows: int = 12,
        texts_per_row: int = 10,
    ) -> None:
        self._make_source = make_source
        self._encoder = encoder
        self._policy = policy
        self._seed = seed
        self._rows = rows
        self._texts_per_row = texts_per_row

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = random.Random(f"{self._seed}/{step}")
        source = self._make_source(rng)
        return collate([self._row(source, rng) for _ in range(self._rows)])

    def _row(self, source: TextSource, rng: random.Random) -> Row:
        policy = self._policy if rng.random() < 0.8 else _varied(self._policy, source, rng)
        prefix = self._encoder.prefix(policy)
        row = Row(list(prefix), [0] * len(prefix), [0.0] * len(prefix), list(range(len(prefix))), [0] * len(prefix))
        for owner in range(1, self._texts_per_row + 1):
            self._append(row, source.text(), owner, len(prefix))
        return row

    def _append(self, row: Row, drawn: Labelled, owner: int, start: int) -> None:
        question, answer = self._encoder.text(drawn.text), self._encoder.label(drawn.label)
        ids = question + answer
        row.ids.extend(ids)
        row.targets.extend([*ids[1:], 0])
        row.weights.extend([0.0] * (len(question) - 1) + [1.0] * len(answer) + [0.0])
        row.positions.extend(range(start, start + len(ids)))
        row.owners.extend([owner] * len(ids))


def collate(rows: list[Row]) -> Batch:
    """Pad rows to one length; the attention mask keeps texts apart."""
    longest = max(len(row.ids) for row in rows)

    def padded(name: str, filler: float, kind: torch.dtype) -> Tensor:
        values = [list(getattr(row, name)) for row in rows]
        return torch.tensor([row + [filler] * (longest - len(row)) for row in values], dtype=kind)

    owners = padded("owners", -1, torch.long)
    sees = (owners[:, :, None] == owners[:, None, :]) | (owners[:, None, :] == 0)
    sees &= torch.ones(longest, longest, dtype=torch.bool).tril()
    blocked = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
    return Batch(
        padded("ids", PADDING_ID, torch.long),
        padded("targets", 0, torch.long),
        padded("weights", 0.0, torch.float),
        {"attention_mask": blocked[:, None], "position_ids": padded("positions", 0, torch.long)},
    )


def _varied(policy: Policy, source: TextSource, rng: random.Random) -> Policy:
    """The policy with its examples shuffled, some left out, some replaced by drawn ones."""
    examples = list(policy.examples)
    rng.shuffle(examples)
    kept = examples[: rng.randint(2, len(examples))]
    drawn = [source.text() for _ in range(rng.randint(0, 2))]
    mixed = kept + [replace(examples[0], text=text.text, label=text.label) for text in drawn]
    rng.shuffle(mixed)
    return replace(policy, examples=tuple(mixed))
