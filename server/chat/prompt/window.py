"""Which turns of a conversation stay in the window: plain arithmetic, no text.

Turns are dropped in steps: when the next prompt does not fit, so many of the oldest go that the rest fills only part
of the window. The start then stays where it is for as long as possible, and with it the prompt's prefix.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

KEPT_PART = 0.4  # of the room for history, filled after a step


@dataclass(frozen=True)
class TurnSize:
    """Tokens of one turn: up to and with the tag that opens the reply, and after it."""

    num_head_tokens: int
    num_tail_tokens: int


def first_kept(turns: Sequence[TurnSize], start: int, settled: int, next_head: int, room: int) -> int:
    """The index of the oldest turn to keep when a question with `next_head` tokens follows `turns`.

    Replays what was decided from turn `settled` on, as if every prompt had had `room` tokens for history and question
    together. So the result depends on nothing but the conversation, and the prompt of one request starts where the
    one before it did.

    Args:
        turns: oldest first.
        start: the oldest turn in the prompt of turn `settled` - 1.
        settled: turns before this index were asked with that start.
        next_head: tokens of the question that follows, its passage included.
        room: tokens for history and question together.
    """
    totals = [0, *accumulate(turn.num_head_tokens + turn.num_tail_tokens for turn in turns)]
    heads = [turn.num_head_tokens for turn in turns[settled:]] + [next_head]
    for asked, head in enumerate(heads, settled):
        if totals[asked] - totals[start] + head > room:
            start = _after_step(totals, start, asked, history_room=room - head)
    return start


def _after_step(totals: Sequence[int], start: int, asked: int, history_room: int) -> int:
    """The first turn after `start` from which the turns before `asked` fill at most `KEPT_PART` of `history_room`."""
    least = totals[asked] - max(0, int(history_room * KEPT_PART))
    return bisect_left(totals, least, start + 1, asked) if start < asked else asked
