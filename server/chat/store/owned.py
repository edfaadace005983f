"""Whose a conversation is: the owner stands in what its rows are kept under, and each owner has a list of them.

Thus another owner's conversation is not refused but not there, by the same rules in every database, and the list is
read without a look at anybody else's rows. The list holds ids alone: what was said is in the conversations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from server.chat.records.turn_records import Session
from server.chat.store.rows import Row, Rows, RowState, expiry

_BETWEEN = "/"  # in no session id and in no owner's name
_PAGE = 25
_SAME_MS_BITS = 20
_MOST_TITLE_CHARS = 80


def owned_id(owner: str, session_id: str) -> str:
    """What the rows of a session are kept under; without an owner, the session's id itself."""
    return f"{owner}{_BETWEEN}{session_id}" if owner else session_id


def title_of(question: str) -> str:
    """A conversation's name, from its first question: one line."""
    line = " ".join(question.split())
    return line if len(line) <= _MOST_TITLE_CHARS else f"{line[: _MOST_TITLE_CHARS - 1].rstrip()}…"


class SessionList:
    """The sessions of one owner, in the order in which they began.

    An entry lives twice as long as a turn, and is written anew with the first turn of each half of a turn's life, so it
    never expires before its session does.
    """

    def __init__(self, rows: Rows, owner: str, ttl_s: float) -> None:
        self._rows = rows
        self._id = owned_id(owner, "")
        self._ttl_s = ttl_s

    def is_due(self, session: Session, now: float) -> bool:
        """Whether the next turn of `session` must write its entry."""
        if not session.turns:
            return True
        half_s = self._ttl_s / 2
        return bool(half_s) and session.turns[-1].created_at // half_s != now // half_s

    def put(self, session_id: str, created_at: float, now: float) -> None:
        """Write the session's entry."""
        expires_at = expiry(now, 2 * self._ttl_s)
        place = _place(session_id, created_at)
        self._rows.put(Row(self._id, place, RowState.DONE, created_at, expires_at=expires_at, record=session_id))

    def remove(self, session_id: str, created_at: float) -> None:
        """Forget the session."""
        self._rows.remove_done(self._id, _place(session_id, created_at))

    def newest_first(self, before: int | None) -> Iterator[Row]:
        """The entries below a place, each with the session's id as its record, read page by page."""
        while page := self._rows.newest(self._id, _PAGE, before):
            yield from page
            before = page[-1].turn


def _place(session_id: str, created_at: float) -> int:
    """Where a session stands: 61 bits, milliseconds and some of its id for those that begin in the same one."""
    digest = int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:4], "big")
    return int(created_at * 1000) << _SAME_MS_BITS | digest >> (32 - _SAME_MS_BITS)
