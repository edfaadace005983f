"""A moderation model in the engine group, with a policy's prompt as token ids."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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

    def request(
        self, text: str, deadline_s: float | None, parts: Sequence[str] = (), *, of_reply: bool = False
    ) -> wire.Score:
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
            of_reply=of_reply,
        )

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self.encoder.encode(f" {text}"))
