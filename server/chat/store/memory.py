"""Rows in this process's memory, for tests and for trying things out; gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from server.chat.store.rows import Row, RowState


class MemoryRows:
    """`Rows` in a dictionary."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[int, Row]] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Nothing to create."""

    def newest(self, session_id: str, limit: int, before: int | None = None) -> list[Row]:
        """See `Rows.newest`."""
        return [row for row in self._sorted(session_id)[::-1] if before is None or row.turn < before][:limit]

    def oldest_first(self, session_id: str, after: int = -1) -> Iterator[Row]:
        """See `Rows.oldest_first`."""
        return (row for row in self._sorted(session_id) if row.turn > after)

    def get(self, session_id: str, turn: int) -> Row | None:
        """See `Rows.get`."""
        with self._lock:
            return self._sessions.get(session_id, {}).get(turn)

    def put(self, row: Row) -> None:
        """See `Rows.put`."""
        with self._lock:
            self._sessions.setdefault(row.session_id, {})[row.turn] = row

    def put_if_free(self, row: Row, now: float) -> bool:
        """See `Rows.put_if_free`."""
        with self._lock:
            rows = self._sessions.setdefault(row.session_id, {})
            found = rows.get(row.turn)
            if found is not None and not found.is_free(now):
                return False
            rows[row.turn] = row
            return True

    def replace_open(self, row: Row, token: str) -> bool:
        """See `Rows.replace_open`."""
        with self._lock:
            if not self._is_open(row.session_id, row.turn, token):
                return False
            self._sessions[row.session_id][row.turn] = row
            return True

    def replace_done(self, row: Row) -> bool:
        """See `Rows.replace_done`."""
        with self._lock:
            found = self._sessions.get(row.session_id, {}).get(row.turn)
            if found is None or found.state is not RowState.DONE or found.token != row.token:
                return False
            self._sessions[row.session_id][row.turn] = row
            return True

    def remove_done(self, session_id: str, turn: int) -> bool:
        """See `Rows.remove_done`."""
        with self._lock:
            found = self._sessions.get(session_id, {}).get(turn)
            if found is None or found.state is not RowState.DONE:
                return False
            del self._sessions[session_id][turn]
            return True

    def remove_open(self, session_id: str, turn: int, token: str) -> bool:
        """See `Rows.remove_open`."""
        with self._lock:
            if not self._is_open(session_id, turn, token):
                return False
            del self._sessions[session_id][turn]
            return True

    def remove_expired(self, session_id: str, now: float) -> None:
        """See `Rows.remove_expired`."""
        with self._lock:
            rows = self._sessions.pop(session_id, {})
            kept = {turn: row for turn, row in rows.items() if not row.is_expired(now)}
            if kept:
                self._sessions[session_id] = kept

    def remove_all(self, session_id: str) -> None:
        """See `Rows.remove_all`."""
        with self._lock:
            self._sessions.pop(session_id, None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _sorted(self, session_id: str) -> list[Row]:
        with self._lock:
            rows = self._sessions.get(session_id, {})
            return [rows[turn] for turn in sorted(rows)]

    def _is_open(self, session_id: str, turn: int, token: str) -> bool:
        found = self._sessions.get(session_id, {}).get(turn)
        return found is not None and found.state is RowState.OPEN and found.token == token
