"""A text cut into windows that overlap, so that nothing of it goes unread."""

from __future__ import annotations

from collections.abc import Sequence

MIN_OVERLAP_TOKENS = 16


def overlap_tokens(room: int) -> int:
    """Tokens that neighbouring windows of `room` tokens share: an eighth, at least MIN_OVERLAP_TOKENS."""
    return max(room // 8, MIN_OVERLAP_TOKENS)


def can_split(room: int) -> bool:
    """Whether windows of `room` tokens move on by at least as much as they share."""
    return room >= 2 * MIN_OVERLAP_TOKENS


def text_windows(text: Sequence[int], room: int) -> list[tuple[int, ...]]:
    """`text` whole if it fits into `room` tokens, else in windows of `room` tokens each; the last one ends the text."""
    if len(text) <= room:
        return [tuple(text)]
    assert can_split(room), room
    last = len(text) - room
    stride = room - overlap_tokens(room)
    starts = [*range(0, last, stride), last]
    return [tuple(text[start : start + room]) for start in starts]
