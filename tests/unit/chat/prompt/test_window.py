"""Which turns stay: always few enough, never fewer than a step asks for, and the same however one counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.prompt.window import KEPT_PART, TurnSize, first_kept

ROOM = 100
sizes = st.lists(st.builds(TurnSize, st.integers(1, 60), st.integers(1, 60)), max_size=30)
heads = st.integers(1, ROOM)


def num_tokens(turns: list[TurnSize]) -> int:
    return sum(turn.num_head_tokens + turn.num_tail_tokens for turn in turns)


@settings(deadline=None, derandomize=True)
@given(turns=sizes, head=heads)
def test_what_stays_fits_with_the_question(turns: list[TurnSize], head: int) -> None:
    start = first_kept(turns, 0, 0, head, ROOM)
    assert start == len(turns) or num_tokens(turns[start:]) + head <= ROOM


@settings(deadline=None, derandomize=True)
@given(turns=sizes, head=heads)
def test_nothing_is_dropped_while_everything_fits(turns: list[TurnSize], head: int) -> None:
    room = num_tokens(turns) + max([head, *(turn.num_head_tokens for turn in turns)])
    assert first_kept(turns, 0, 0, head, room) == 0


@settings(deadline=None, derandomize=True)
@given(turns=sizes, head=heads)
def test_a_step_leaves_the_stated_part_of_the_room_and_no_turn_less(turns: list[TurnSize], head: int) -> None:
    start = first_kept(turns, 0, len(turns), head, ROOM)
    if start > 0:
        limit = int((ROOM - head) * KEPT_PART)
        assert num_tokens(turns[start:]) <= limit
        assert start == 1 or num_tokens(turns[start - 1 :]) > limit


@settings(deadline=None, derandomize=True)
@given(turns=sizes, head=heads)
def test_replaying_a_conversation_gives_the_start_that_each_turn_recorded(turns: list[TurnSize], head: int) -> None:
    start = 0
    for asked, turn in enumerate(turns):
        start = first_kept(turns[:asked], start, asked, turn.num_head_tokens, ROOM)
    recorded = first_kept(turns, start, len(turns), head, ROOM)
    assert first_kept(turns, 0, 0, head, ROOM) == recorded
