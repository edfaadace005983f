"""Batches for the moderation model: one few-shot prefix a step, and many texts that each follow it alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from tokenizers import Tokenizer

from container.demo.data.moderation_data import Labelled
from container.demo.data.tokenizer import PADDING_ID
from container.demo.train.training import Batch
from server.chat.moderation.policy import Policy

_TEXT_TOKENS = 72
_BLOCK_STEPS = 4


class TextSource(Protocol):
    """What draws labelled texts, from the generator it was made with."""

    def text(self) -> Labelled:
        """The next text."""
        ...


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
    """Batches of `texts` labelled texts behind one prefix: mostly the policy's own, at times with other examples."""

    def __init__(
        self,
        make_source: Callable[[random.Random], TextSource],
        encoder: PromptEncoder,
        policy: Policy,
        seed: int,
        texts: int = 96,
    ) -> None:
        self._make_source = make_source
        self._encoder = encoder
        self._policy = policy
        self._seed = seed
        self._texts = texts

    def batch(self, step: int) -> Batch:
        """The batch of a step; texts of like length come together, drawn for a block of steps at a time."""
        number, place = divmod(step, _BLOCK_STEPS)
        rng = random.Random(f"{self._seed}/{number}")
        source = self._make_source(rng)
        texts = sorted((source.text() for _ in range(self._texts * _BLOCK_STEPS)), key=lambda text: len(text.text))
        groups = [texts[first : first + self._texts] for first in range(0, len(texts), self._texts)]
        rng.shuffle(groups)
        own = random.Random(f"{self._seed}/{number}/{place}")
        policy = self._policy if own.random() < 0.8 else _varied(self._policy, self._make_source(own), own)
        return self._collate(groups[place], self._encoder.prefix(policy))

    def _collate(self, texts: list[Labelled], prefix: list[int]) -> Batch:
        """Rows of question and label; only the label's tokens and its line end are to be predicted."""
        pairs = [(self._encoder.text(text.text), self._encoder.label(text.label)) for text in texts]
        shape = (len(pairs), max(len(question) + len(answer) for question, answer in pairs) - 1)
        inputs = torch.full(shape, PADDING_ID)
        targets, weights = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
        for row, (question, answer) in enumerate(pairs):
            ids = torch.tensor(question + answer)
            inputs[row, : len(ids) - 1] = ids[:-1]
            targets[row, : len(ids) - 1] = ids[1:]
            weights[row, len(question) - 1 : len(ids) - 1] = 1.0
        return Batch(inputs, targets, weights, prefix=torch.tensor([prefix]))


def _varied(policy: Policy, source: TextSource, rng: random.Random) -> Policy:
    """The policy with its examples shuffled, some left out, some replaced by drawn ones."""
    examples = list(policy.examples)
    rng.shuffle(examples)
    kept = examples[: rng.randint(2, len(examples))]
    drawn = [source.text() for _ in range(rng.randint(0, 2))]
    mixed = kept + [replace(examples[0], text=text.text, label=text.label) for text in drawn]
    rng.shuffle(mixed)
    return replace(policy, examples=tuple(mixed))
