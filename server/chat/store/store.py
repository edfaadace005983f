"""Conversations, by the same rules over every database: one open turn a session, claimed, then completed."""

from __future__ import annotations

import copy
import logging
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from server.chat.records.turn_records import Feedback, Session, SessionSummary, Turn
from server.chat.store.heartbeat import Heartbeat, is_dead
from server.chat.store.owned import SessionList, owned_id, title_of
from server.chat.store.rows import Row, Rows, RowState, encode_record, expiry, read_record
from server.errors import ErrorCode, ServiceError

log = logging.getLogger(__name__)

BUSY_RETRY_S = 1.0
_CHANGES_AT_ONCE = 64
ABANDONED_S = 3600.0  # how long after its lock an abandoned claim is kept before the database may drop it


class SessionBusy(ServiceError):
    """Another turn of the session is open, or the turn's number was taken meanwhile."""

    def __init__(self, session_id: str, turn: int, why: str) -> None:
        super().__init__(
            ErrorCode.SESSION_BUSY,
            f"session {session_id!r}, turn {turn}: {why}",
            field="session_id",
            retry_after_s=BUSY_RETRY_S,
        )


@dataclass(frozen=True)
class Claim:
    """The right to write one turn, until `lock_until` or until it is completed or released."""

    session_id: str
    turn: int
    token: str
    session_created_at: float
    lock_until: float
    is_listed_anew: bool = False  # whether the session's place in its owner's list is written with the turn


def next_turn(session: Session) -> int:
    """The number of the turn that follows: one more than the turns the session ever had."""
    return max(session.last, session.turns[-1].turn if session.turns else 0) + 1


def conversation(newest_first: Iterable[Turn]) -> list[Turn]:
    """The turns that the newest one goes on from, oldest first: what another turn has replaced is left out."""
    path: list[Turn] = []
    before: int | None = None
    for turn in newest_first:
        if before is None or turn.turn <= before:
            path.append(turn)
            before = turn.turn - 1 if turn.follows is None else turn.follows
    return path[::-1]


def _lasting(rows: Iterable[Row], now: float) -> list[Row]:
    return [row for row in rows if row.state is RowState.DONE and not row.is_expired(now)]


class Store:
    """Conversations over `rows`, those of nobody until `of` names an owner.

    Thread-safe; every method may raise ServiceError STORE_UNAVAILABLE. A turn lives `session_ttl_s` seconds (0: for
    ever), a session as long as its newest turn. `owner` in `claim` names one front: a claim that the same owner left
    behind in an earlier life is taken over at once, that of a front which said that it lives and does no more
    (`live_as`) soon, anybody else's only after `session_lock_s` seconds; two live fronts must never use the same name.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        clock: Callable[[], float],
        session_ttl_s: float,
        session_lock_s: float,
        waits: bool = True,
    ) -> None:
        """`waits`: whether an answer may take a while, as it does not in this process's memory."""
        self._rows = rows
        self.waits = waits
        self._clock = clock
        self._ttl_s = session_ttl_s
        self._lock_s = session_lock_s
        self._held: set[str] = set()  # tokens of this process's claims
        self._held_lock = threading.Lock()
        self._changing = [threading.RLock() for _ in range(_CHANGES_AT_ONCE)]
        self._list: SessionList | None = None
        self._owner = ""
        self._heartbeat: Heartbeat | None = None

    def live_as(self, owner: str) -> None:
        """Say from now on, until `close`, that the front of this name lives. For databases that fronts share."""
        self._heartbeat = Heartbeat(self._rows, owner, self._clock, session_lock_s=self._lock_s)
        self._heartbeat.begin()

    def of(self, owner: str) -> Store:
        """The conversations of one owner, in which another's do not exist, whatever their ids; "": those of nobody."""
        view = copy.copy(self)
        view._owner = owner
        view._list = SessionList(self._rows, owner, self._ttl_s) if owner else None
        return view

    def sessions(self, before: int | None = None) -> Iterator[SessionSummary]:
        """The owner's conversations below a place, the newest first, read as the caller asks for them; nobody's are in
        no list.
        """
        entries = () if self._list is None else self._list.newest_first(before)
        return (found for found in map(self._summary, entries) if found is not None)

    def _summary(self, entry: Row) -> SessionSummary | None:
        """None for a conversation that has expired, or whose first turn never ended."""
        session_id, now = entry.record, self._clock()
        rows = self._rows.newest(self._id(session_id), 2)  # the newest may be open
        newest = next((row for row in rows if row.state is not RowState.OPEN and not row.is_expired(now)), None)
        if newest is None:
            return None
        first = next(self._stored(session_id, 0), None)
        last = read_record(newest) if newest.state is RowState.DONE else None
        return SessionSummary(
            session_id,
            "" if first is None else title_of(first.user),
            created_at=newest.session_created_at,
            updated_at=newest.session_created_at if last is None else last.created_at,
            num_turns=newest.turn,
            place=entry.turn,
        )

    def _id(self, session_id: str) -> str:
        """What the rows of an owner's conversation are kept under."""
        return owned_id(self._owner, session_id)

    def load(self, session_id: str, max_turns: int, behind: int | None = None) -> Session | None:
        """The session with its newest `max_turns` turns, oldest first, in one read; None when unknown or expired.

        Open turns are not in it, nor those that a later one replaced, nor any that cannot be read. `next_turn` of the
        result counts the turns that were left out, too. With `behind`, the turns are those that lead to that one, read
        by themselves; none where it is not there.
        """
        now = self._clock()
        rows = self._rows.newest(self._id(session_id), max_turns + 1)  # one more, since the newest may be open
        settled = [row for row in rows if row.state is not RowState.OPEN]
        if not settled:
            return None
        if settled[0].is_expired(now):
            self._rows.remove_expired(self._id(session_id), now)
            return None
        done = _lasting(settled, now)
        last = done[0].turn if done else 0
        if behind not in (None, last):
            done = _lasting(self._rows.newest(self._id(session_id), max_turns, before=behind + 1), now)
        turns = [turn for turn in map(read_record, done[:max_turns]) if turn is not None]
        is_there = behind is None or (bool(turns) and turns[0].turn == behind)
        path = tuple(conversation(turns)) if is_there else ()
        return Session(session_id, settled[0].session_created_at, path, last=last)

    def history(self, session_id: str, after: int = 0) -> Iterator[Turn]:
        """Every turn of the conversation above number `after`, oldest first; nothing for an unknown session.

        Read page by page, twice: a later turn may have replaced earlier ones. What cannot be read is left out.
        """
        links = ((turn.turn, turn.follows) for turn in self._stored(session_id, after))
        bare = [Turn(number, "", "", finish_reason="", created_at=0.0, follows=follows) for number, follows in links]
        kept = {turn.turn for turn in conversation(reversed(bare))}
        return (turn for turn in self._stored(session_id, after) if turn.turn in kept)

    def _stored(self, session_id: str, after: int) -> Iterator[Turn]:
        for row in self._rows.oldest_first(self._id(session_id), after):
            if row.state is RowState.DONE and not row.is_expired(self._clock()):
                turn = read_record(row)
                if turn is not None:
                    yield turn

    def turn(self, session_id: str, turn: int) -> Turn | None:
        """One turn, also one that a later turn has replaced; None when there is none that can be read."""
        row = self._done(session_id, turn)
        return None if row is None else read_record(row)

    def delete_turn(self, session_id: str, turn: int) -> bool:
        """Erase one turn, read or not, and what summaries say of it; the others stay. False when there was none."""
        if self._done(session_id, turn) is None:
            return False
        for later in self._stored(session_id, turn):
            if later.summary and later.usage.dropped_turns >= turn:
                self._change(session_id, later.turn, summary="")
        return self._rows.remove_done(self._id(session_id), turn)

    def give_feedback(self, session_id: str, turn: int, feedback: Feedback) -> bool:
        """Keep what a reader thought of a reply. False when there is no such turn.

        Raises:
            SessionBusy: the turn was changed meanwhile.
            ServiceError: INVALID_FIELD when the turn is then larger than a row may be.
        """
        return self._change(session_id, turn, feedback=feedback)

    def give_summary(self, session_id: str, turn: int, summary: str, of: Collection[int]) -> bool:
        """Keep with `turn` what the turns `of` said, which it had no room for. False when one of them is no more.

        Raises:
            SessionBusy: the turn was changed meanwhile.
        """
        with self._changing[hash(session_id) % _CHANGES_AT_ONCE]:
            if not set(of) <= {each.turn for each in self._stored(session_id, 0)}:
                return False
            return self._change(session_id, turn, summary=summary)

    def _change(self, session_id: str, turn: int, **fields: Any) -> bool:
        """Write a turn's record again. One at a time of a session, so that neither of two changes is lost."""
        with self._changing[hash(session_id) % _CHANGES_AT_ONCE]:
            row = self._done(session_id, turn)
            found = None if row is None else read_record(row)
            if row is None or found is None:
                return False
            record = encode_record(msgspec.structs.replace(found, **fields))
            if not self._rows.replace_done(replace(row, record=record)):
                raise SessionBusy(session_id, turn, "it was changed meanwhile")
            return True

    def _done(self, session_id: str, turn: int) -> Row | None:
        row = self._rows.get(self._id(session_id), turn)
        gone = row is None or row.state is not RowState.DONE or row.is_expired(self._clock())
        return None if gone else row

    def create(self, session_id: str) -> Session:
        """A session without turns that `load` finds. Raises SessionBusy when the id is in use."""
        now = self._clock()
        expires_at = expiry(now, self._ttl_s)
        row = Row(self._id(session_id), 0, RowState.CREATED, session_created_at=now, expires_at=expires_at)
        if self.load(session_id, 1) is not None or not self._rows.put_if_free(row, now):
            raise SessionBusy(session_id, 0, "the session exists already")
        if self._list is not None:
            self._list.put(session_id, now, now)
        return Session(session_id, now)

    def claim(self, session: Session, owner: str) -> Claim:
        """Take the turn that follows `session`'s last one, by one conditional write.

        Raises:
            SessionBusy: the turn is open elsewhere, or was done since `session` was loaded.
        """
        now = self._clock()
        turn, token, lock_until = next_turn(session), uuid.uuid4().hex, now + self._lock_s
        row = Row(
            self._id(session.session_id), turn, RowState.OPEN, session_created_at=session.created_at,
            token=token, owner=owner, lock_until=lock_until, expires_at=expiry(lock_until, ABANDONED_S),
        )  # fmt: skip
        self._hold(token)
        try:
            if not self._rows.put_if_free(row, now) and not self._take_over(row):
                raise SessionBusy(session.session_id, turn, "another request is at work on it, or has just finished it")
        except ServiceError:
            self._let_go(token)
            raise
        return Claim(
            session.session_id, turn, token, session_created_at=session.created_at, lock_until=lock_until,
            is_listed_anew=self._list is not None and self._list.is_due(session, now),
        )  # fmt: skip

    def complete(self, claim: Claim, turn: Turn) -> None:
        """Make the turn durable, by one conditional write; when this returns, it survives a crash.

        Raises:
            SessionBusy: the claim was lost, to another request or because the session was deleted.
            ServiceError: INVALID_FIELD when the turn is larger than a row may be (`rows.MAX_RECORD_BYTES`).
        """
        assert turn.turn == claim.turn, (turn.turn, claim.turn)
        row = Row(
            self._id(claim.session_id), claim.turn, RowState.DONE, session_created_at=claim.session_created_at,
            token=claim.token, expires_at=expiry(self._clock(), self._ttl_s), record=encode_record(turn),
        )  # fmt: skip
        try:
            if self._list is not None and claim.is_listed_anew:
                self._list.put(claim.session_id, claim.session_created_at, self._clock())
            if not self._rows.replace_open(row, claim.token) and not self._is_written(row):
                raise SessionBusy(claim.session_id, claim.turn, "the claim was lost before the turn was done")
        finally:
            self._let_go(claim.token)

    def release(self, claim: Claim) -> None:
        """Give an unfinished turn back. Never fails: what cannot be removed is taken over or expires."""
        try:
            self._rows.remove_open(self._id(claim.session_id), claim.turn, claim.token)
        except ServiceError as error:
            log.warning("claim.release_failed turn=%d error=%s", claim.turn, error.code)
        finally:
            self._let_go(claim.token)

    def delete(self, session_id: str) -> bool:
        """Erase the session; a turn that is open is lost to its request. False when there was none.

        A request that read the session just before and claims its turn just after still writes that one turn.
        """
        now = self._clock()
        try:
            found = self._rows.newest(self._id(session_id), 2)  # the newest may be open
        except ServiceError:  # an outage, which ends the next call too, or rows that nobody can read: they go
            self._rows.remove_all(self._id(session_id))
            return True
        if found:
            self._rows.remove_all(self._id(session_id))
            if self._list is not None:
                self._list.remove(session_id, found[0].session_created_at)
        return any(row.state is not RowState.OPEN and not row.is_expired(now) for row in found)

    def close(self) -> None:
        """Let go of connections; no other call may follow."""
        if self._heartbeat is not None:
            self._heartbeat.end()
        self._rows.close()

    def _take_over(self, row: Row) -> bool:
        """Whether `row`'s place is ours after all: written although no answer came, or left by one who is dead: our
        earlier life, or another front.
        """
        found = self._rows.get(row.session_id, row.turn)
        if found is None or found.state is not RowState.OPEN:
            return False
        if found.token == row.token:
            return True
        if self._holds(found.token) or (found.owner != row.owner and not self._is_dead(found.owner)):
            return False
        return self._rows.replace_open(row, found.token)

    def _is_dead(self, owner: str) -> bool:
        return is_dead(self._rows, owner, self._clock())

    def _is_written(self, row: Row) -> bool:
        """Whether an earlier attempt at writing `row` went through although no answer came."""
        found = self._rows.get(row.session_id, row.turn)
        return found is not None and replace(found, expires_at=row.expires_at) == row

    def _hold(self, token: str) -> None:
        with self._held_lock:
            self._held.add(token)

    def _holds(self, token: str) -> bool:
        with self._held_lock:
            return token in self._held

    def _let_go(self, token: str) -> None:
        with self._held_lock:
            self._held.discard(token)
