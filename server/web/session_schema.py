"""A stored conversation as it goes out."""

from __future__ import annotations

import msgspec

from server.chat.records import Source, Turn


class StoredTurn(msgspec.Struct, frozen=True):
    """One exchange of a conversation."""

    turn: int
    user: str
    reply: str
    finish_reason: str
    created_at: float  # seconds since the epoch
    sources: tuple[Source, ...]
    labels: dict[str, str]


class SessionHistory(msgspec.Struct, frozen=True):
    """A conversation, oldest turn first."""

    session_id: str
    turns: tuple[StoredTurn, ...]


class SessionDeleted(msgspec.Struct, frozen=True):
    """The conversation is erased."""

    session_id: str
    deleted: bool


def stored_turn(turn: Turn) -> StoredTurn:
    """What a client may see of a stored turn."""
    return StoredTurn(turn.turn, turn.user, turn.reply, turn.finish_reason, turn.created_at, turn.sources, turn.labels)
