"""A stored conversation as it goes out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.chat.records.session_ids import LEGAL, MAX_CHARS
from server.chat.records.turn_records import Citation, Feedback, Source, Turn
from server.web.limits.table import MAX_HISTORY_TURNS

SESSION_ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"  # for the document; `check_session_id` is what decides

SessionId = Annotated[
    str,
    Meta(
        description=f"{LEGAL}. An unknown id starts a conversation unless the server requires known ones; absent, the "
        "server makes an id that cannot be guessed.",
        extra_json_schema={
            "pattern": SESSION_ID_PATTERN,
            "maxLength": MAX_CHARS,
            "not": {"const": "NEW_SESSION"},  # in SageMaker's header this word asks for a session
        },
    ),
]
After = Annotated[
    int, Meta(ge=0, le=2**53, description="Only turns above this number: the last answer's next_after, to go on.")
]
Limit = Annotated[int, Meta(ge=1, le=MAX_HISTORY_TURNS, description="At most this many turns in one answer.")]


Owner = Annotated[
    str,
    Meta(max_length=64, description="Whose conversations, for operators; absent: one's own. Empty: those of nobody."),
]


class HistoryPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a conversation is asked for."""

    after: After = 0
    limit: Limit = MAX_HISTORY_TURNS
    owner: Owner | None = None


class OwnerOnly(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose conversation it is, where nothing else is asked for."""

    owner: Owner | None = None


class StoredTurn(msgspec.Struct, frozen=True):
    """One exchange of a conversation."""

    turn: int
    user: str
    reply: str
    finish_reason: str
    created_at: float  # seconds since the epoch
    sources: tuple[Source, ...]
    labels: dict[str, str]
    citations: tuple[Citation, ...]  # sentences of the reply that rest on a source
    feedback: Feedback | None = None


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
    return StoredTurn(
        turn=turn.turn,
        user=turn.user,
        reply=turn.reply,
        finish_reason=turn.finish_reason,
        created_at=turn.created_at,
        sources=turn.sources,
        labels=turn.labels,
        citations=turn.citations,
        feedback=turn.feedback,
    )
