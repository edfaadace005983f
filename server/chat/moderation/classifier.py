"""A moderation model in the engine group, with a policy's prompt as token ids."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import msgspec

from server import wire
from server.chat.moderation.policy import Policy


class TextEncoder(Protocol):
    """Text to token ids, special tokens never recognised."""

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`."""


@dataclass(frozen=True)
class Classifier:
    """A moderation model in the engine group, with the policy's prompt as its token ids."""

    model: str
    encoder: TextEncoder
    prefix: tuple[int, ...]
    closing: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: str, encoder: TextEncoder, policy: Policy) -> Classifier:
        """Encode the pieces of the prompt one by one, so that no text can merge with them."""
        return cls(
            model=model,
            encoder=encoder,
            prefix=tuple(encoder.encode(policy.prefix()) + encoder.encode(policy.opening)),
            closing=tuple(encoder.encode(policy.closing)),
            candidates=tuple(tuple(encoder.encode(f" {label}") + encoder.encode("\n")) for label in policy.labels),
        )

    def request(self, text: str, deadline_s: float | None, parts: Sequence[str] = ()) -> wire.Score:
        """The classification of one text with its parts, all made plain already."""
        return wire.Score(
            request_id=f"score-{uuid.uuid4().hex}",
            model=self.model,
            prefix=self.prefix,
            text=self._encoded(text),
            closing=self.closing,
            candidates=self.candidates,
            deadline_s=deadline_s,
            parts=tuple(map(self._encoded, parts)),
        )

    @cached_property
    def first_words(self) -> tuple[int, ...]:
        """The tokens that labels begin with, each once."""
        return tuple(dict.fromkeys(candidate[0] for candidate in self.candidates))

    def look(self, texts: Sequence[str]) -> wire.Score:
        """How likely each label's first word is behind each of `texts`: no more tokens than the texts' are computed."""
        request = self.request(texts[0], None, texts[1:])
        return msgspec.structs.replace(request, candidates=tuple((token,) for token in self.first_words))

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self.encoder.encode(f" {text}"))
