"""One row a turn: what is written, and the few conditional operations a database must offer."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from server.chat.records.turn_records import Turn
from server.errors import ErrorCode, ServiceError

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 380_000  # DynamoDB takes 400 KB an item, names and the other attributes included

MAX_QUESTION_BYTES = 256_000  # of them, as JSON; the others are for the reply and its sources


class RowState(StrEnum):
    """What a row stands for."""

    CREATED = "created"  # turn 0: a session that was opened without a question
    OPEN = "open"  # a claim: somebody is working on this turn
    DONE = "done"  # a turn with its record


@dataclass(frozen=True)
class Row:
    """One stored row. Times are seconds since the epoch; `expires_at` is None when it never expires."""

    session_id: str
    turn: int
    state: RowState
    session_created_at: float
    token: str = ""  # who wrote the row: the claim's token, kept when the turn is done
    owner: str = ""  # the front that holds an open row
    lock_until: float = 0.0
    expires_at: int | None = None
    record: str = ""  # a done turn as JSON

    def is_expired(self, now: float) -> bool:
        """Whether the row must no longer be seen."""
        return self.expires_at is not None and self.expires_at <= now

    def is_free(self, now: float) -> bool:
        """Whether a claim may overwrite the row."""
        return self.is_expired(now) or (self.state is RowState.OPEN and self.lock_until <= now)


class Rows(Protocol):
    """A database of rows. Every call is thread-safe, atomic, and sees every earlier acknowledged write.

    Raises:
        ServiceError: STORE_UNAVAILABLE when the database cannot be reached; a write may then have happened or not.
    """

    def check(self) -> None:
        """Create what is missing. Raises ConfigError, without a write, when something else is there."""

    def newest(self, session_id: str, limit: int, before: int | None = None) -> list[Row]:
        """At most `limit` rows, highest turn first, in one read; with `before`, of those below that turn."""

    def oldest_first(self, session_id: str, after: int = -1) -> Iterator[Row]:
        """Every row above turn `after`, lowest turn first, read page by page as the caller asks for them."""

    def get(self, session_id: str, turn: int) -> Row | None:
        """One row, expired or not."""

    def put(self, row: Row) -> None:
        """Write `row` whatever stands in its place."""

    def put_if_free(self, row: Row, now: float) -> bool:
        """Write `row` unless a row that is not free (`Row.is_free`) stands in its place."""

    def replace_open(self, row: Row, token: str) -> bool:
        """Write `row` if an open row with `token` stands in its place."""

    def replace_done(self, row: Row) -> bool:
        """Write `row` if a done row with its token stands in its place."""

    def remove_done(self, session_id: str, turn: int) -> bool:
        """Remove the row if it is done, so that it cannot be read back from the storage either."""

    def remove_open(self, session_id: str, turn: int, token: str) -> bool:
        """Remove the row if it is open and has `token`."""

    def remove_expired(self, session_id: str, now: float) -> None:
        """Remove the session's expired rows."""

    def remove_all(self, session_id: str) -> None:
        """Remove the session's rows, so that they cannot be read back from the storage either."""

    def close(self) -> None:
        """Let go of connections."""


def expiry(now: float, ttl_s: float) -> int | None:
    """When a row written now expires; None for `ttl_s` 0, which means never."""
    return math.ceil(now + ttl_s) if ttl_s else None


def check_question(text: str) -> None:
    """Refuse at the door a question that leaves no room in its row for an answer.

    Raises:
        ServiceError: INVALID_FIELD with both sizes.
    """
    num_bytes = len(msgspec.json.encode(text))
    if num_bytes > MAX_QUESTION_BYTES:
        raise ServiceError(
            ErrorCode.INVALID_FIELD,
            f"this text takes {num_bytes} bytes as JSON; at most {MAX_QUESTION_BYTES} can be stored",
            field="inputs",
        )


def encode_record(turn: Turn) -> str:
    """The turn as JSON; where it is too large with the texts of its sources, without them.

    Raises:
        ServiceError: INVALID_FIELD when it is larger than a row may be all the same.
    """
    record = msgspec.json.encode(turn)
    if len(record) > MAX_RECORD_BYTES:
        sources = tuple(msgspec.structs.replace(source, text="") for source in turn.sources)
        record = msgspec.json.encode(msgspec.structs.replace(turn, sources=sources))
    if len(record) > MAX_RECORD_BYTES:
        raise ServiceError(
            ErrorCode.INVALID_FIELD,
            f"this turn takes {len(record)} bytes; a stored turn takes at most {MAX_RECORD_BYTES}",
            field="inputs",
        )
    return record.decode("utf-8")


def read_record(row: Row) -> Turn | None:
    """The turn of a done row; None, with a line in the log, when something else was written there.

    Such a row costs its turn alone: the conversation goes on without it and can be erased.
    """
    try:
        return msgspec.json.decode(row.record, type=Turn)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        log.error("store.unreadable_record turn=%d error=%s", row.turn, error)
        return None
