"""A stored conversation as it goes out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.chat.records.turn_records import Source, Turn

MAX_TURNS = 1000  # in one answer

After = Annotated[
    int, Meta(ge=0, le=2**53, description="Only turns above this number: the last answer's next_after, to go on.")
]
Limit = Annotated[int, Meta(ge=1, le=MAX_TURNS, description="At most this many turns in one answer.")]


class HistoryPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a conversation is asked for."""

    after: After = 0
    limit: Limit = MAX_TURNS


class StoredTurn(msgspec.Struct, frozen=True):
    """One exchange of a conversation."""

    turn: int
    user: str
    reply: str
    finish_reason: str
    created_at: float  # seconds since the epoch
    sources: tuple[Source, ...]
    labels: dict[str, str]


class SessionHistory(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation, oldest turn first. `next_after` is there when there are more turns; ask again with it."""

    session_id: str
    turns: tuple[StoredTurn, ...]
    next_after: int | None = None


class SessionDeleted(msgspec.Struct, frozen=True):
    """The conversation is erased."""

    session_id: str
    deleted: bool


def stored_turn(turn: Turn) -> StoredTurn:
    """What a client may see of a stored turn."""
    return StoredTurn(turn.turn, turn.user, turn.reply, turn.finish_reason, turn.created_at, turn.sources, turn.labels)
