"""Parts of moderation that need no model: a tokenizer of bytes, and a score for a label that is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from server import wire


class Bytes:
    """A tokenizer of UTF-8 bytes."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


def scored(request: wire.Score, labels: Sequence[str], *found: str) -> wire.Scored:
    """The scores of a model that is sure of one label in each window; the first label again for parts beyond them."""
    labelled = (*found, *found[:1] * (1 + len(request.parts) - len(found)))
    windows = tuple(_log_probs(request, labels.index(label)) for label in labelled)
    return wire.Scored(request.request_id, windows, 1, 0)


def _log_probs(request: wire.Score, wanted: int) -> tuple[tuple[float, ...], ...]:
    return tuple(
        tuple(-0.1 if index == wanted else -5.0 for _ in candidate)
        for index, candidate in enumerate(request.candidates)
    )
