"""Rows in one SQLite file: the embedded default.

A log is kept beside the file (WAL). A finished turn and an erasure are on the disk before they are acknowledged, so
they survive a loss of power; a claim is only handed to the operating system, which survives a crash of the process,
and a lock needs to survive no more. secure_delete overwrites what is erased.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.chat.store.rows import Row, RowState
from server.config import ConfigError
from server.errors import ErrorCode, ServiceError

APPLICATION_ID = 0x4F434B31  # marks the file as ours
SCHEMA_VERSION = 1  # the file's user_version; 0 in files of this schema that were made before it was noted
BUSY_TIMEOUT_S = 5.0  # how long one write waits for another process's
PURGE_EVERY_S = 300.0
PURGE_AGAIN_S = 1.0
PURGE_ROWS = 25  # of up to 380 kB, which are overwritten: some tens of milliseconds
PAGE_ROWS = 200
_ABOVE_ALL = 2**63 - 1
RETRY_AFTER_S = 1.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
    session_id TEXT NOT NULL,
    turn INTEGER NOT NULL,
    state TEXT NOT NULL,
    session_created_at REAL NOT NULL,
    token TEXT NOT NULL,
    owner TEXT NOT NULL,
    lock_until REAL NOT NULL,
    expires_at INTEGER,
    record TEXT NOT NULL,
    PRIMARY KEY (session_id, turn)
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS turns_by_expiry ON turns (expires_at) WHERE expires_at IS NOT NULL"
_COLUMNS = "session_id, turn, state, session_created_at, token, owner, lock_until, expires_at, record"
_SELECT = f"SELECT {_COLUMNS} FROM turns WHERE session_id = ?"  # noqa: S608 - constants only
_REPLACE_DONE = "UPDATE turns SET record = ? WHERE session_id = ? AND turn = ? AND state = 'done' AND token = ?"
_REMOVE_DONE = "DELETE FROM turns WHERE session_id = ? AND turn = ? AND state = 'done'"
_PURGE = "DELETE FROM turns WHERE rowid IN (SELECT rowid FROM turns WHERE expires_at <= ? LIMIT ?)"
_PUT = f"INSERT OR REPLACE INTO turns ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants only
_PUT_IF_FREE = f"""
INSERT INTO turns ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session_id, turn) DO UPDATE SET
    state = excluded.state, session_created_at = excluded.session_created_at, token = excluded.token,
    owner = excluded.owner, lock_until = excluded.lock_until, expires_at = excluded.expires_at, record = excluded.record
WHERE turns.expires_at <= ? OR (turns.state = 'open' AND turns.lock_until <= ?)
"""  # noqa: S608 - constants only
_REPLACE_OPEN = """
UPDATE turns SET state = ?, session_created_at = ?, token = ?, owner = ?, lock_until = ?, expires_at = ?, record = ?
WHERE session_id = ? AND turn = ? AND state = 'open' AND token = ?
"""
_REMOVE_OPEN = "DELETE FROM turns WHERE session_id = ? AND turn = ? AND state = 'open' AND token = ?"

_Column = tuple[str, str, bool, int]
_Values = tuple[str | int | float | None, ...]


class SqliteRows:
    """`Rows` in the file `path`; one connection, used by one thread at a time."""

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lock_timeout_s = busy_timeout_s
        self._next_purge = 0.0
        self._db = _connect(path, busy_timeout_s)
        self._inode = path.stat().st_ino

    def check(self) -> None:
        """See `Rows.check`: refuses a file that is no database, or somebody else's."""
        try:
            found = _identity(self._db)
            if found.tables:
                self._check_identity(found)
            _prepare(self._db)
        except sqlite3.Error as error:
            raise ConfigError(f"OCK_STORE: {self._path}: {error}") from error

    def _check_identity(self, found: _Identity) -> None:
        if found.application_id != APPLICATION_ID:
            raise ConfigError(
                f"OCK_STORE: {self._path} is a SQLite file with other tables ({', '.join(found.tables)}); "
                "name a new file or one that this server made"
            )
        if found.version not in (0, SCHEMA_VERSION) or found.columns != _our_columns():
            names = ", ".join(name for name, *_ in found.columns)
            raise ConfigError(
                f"OCK_STORE: {self._path} holds conversations of schema {found.version} with the columns "
                f"{names or '(none)'}; this server reads schema {SCHEMA_VERSION} with {_COLUMNS}. "
                "Name another file: this one is left as it is"
            )

    def newest(self, session_id: str, limit: int, before: int | None = None) -> list[Row]:
        """See `Rows.newest`."""
        below = _ABOVE_ALL if before is None else before
        return self._select(f"{_SELECT} AND turn < ? ORDER BY turn DESC LIMIT ?", (session_id, below, limit))

    def oldest_first(self, session_id: str, after: int = -1) -> Iterator[Row]:
        """See `Rows.oldest_first`."""
        while page := self._select(f"{_SELECT} AND turn > ? ORDER BY turn LIMIT ?", (session_id, after, PAGE_ROWS)):
            yield from page
            after = page[-1].turn

    def get(self, session_id: str, turn: int) -> Row | None:
        """See `Rows.get`."""
        found = self._select(f"{_SELECT} AND turn = ?", (session_id, turn))
        return found[0] if found else None

    def put(self, row: Row) -> None:
        """See `Rows.put`; on the disk with the next row that is."""
        self._write(_PUT, (row.session_id, row.turn, *_values(row)), durable=False)

    def put_if_free(self, row: Row, now: float) -> bool:
        """See `Rows.put_if_free`; now and then it also removes every session's expired rows."""
        self._purge(now)
        durable = row.state is not RowState.OPEN
        return self._write(_PUT_IF_FREE, (row.session_id, row.turn, *_values(row), now, now), durable) > 0

    def replace_open(self, row: Row, token: str) -> bool:
        """See `Rows.replace_open`."""
        return self._write(_REPLACE_OPEN, (*_values(row), row.session_id, row.turn, token)) > 0

    def replace_done(self, row: Row) -> bool:
        """See `Rows.replace_done`."""
        return self._write(_REPLACE_DONE, (row.record, row.session_id, row.turn, row.token)) > 0

    def remove_done(self, session_id: str, turn: int) -> bool:
        """See `Rows.remove_done`."""
        removed = self._write(
            "DELETE FROM turns WHERE session_id = ? AND turn = ? AND state = 'done'", (session_id, turn)
        )
        self._empty_log()
        return removed > 0

    def remove_open(self, session_id: str, turn: int, token: str) -> bool:
        """See `Rows.remove_open`."""
        return self._write(_REMOVE_OPEN, (session_id, turn, token), durable=False) > 0

    def remove_expired(self, session_id: str, now: float) -> None:
        """See `Rows.remove_expired`."""
        self._write("DELETE FROM turns WHERE session_id = ? AND expires_at <= ?", (session_id, now))

    def remove_all(self, session_id: str) -> None:
        """See `Rows.remove_all`; the log is emptied too, where the text would otherwise stay for a while."""
        self._write("DELETE FROM turns WHERE session_id = ?", (session_id,))
        self._empty_log()

    def close(self) -> None:
        """Close the file; the log is folded into it."""
        with self._lock:
            self._db.close()

    def _empty_log(self) -> None:
        with self._connection() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _purge(self, now: float) -> None:
        """A batch of expired rows now and then, and the next one soon where there are more: no claim waits for long."""
        if now >= self._next_purge:
            full = self._write(_PURGE, (now, PURGE_ROWS)) == PURGE_ROWS
            self._next_purge = now + (PURGE_AGAIN_S if full else PURGE_EVERY_S)

    def _select(self, sql: str, values: _Values) -> list[Row]:
        with self._connection() as db:
            return [_row(found) for found in db.execute(sql, values).fetchall()]

    def _write(self, sql: str, values: _Values, durable: bool = True) -> int:
        """Run one statement as one transaction, waiting for the disk if `durable`; the number of rows it changed."""
        with self._connection() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            return db.execute(sql, values).rowcount

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self._lock.acquire(timeout=self._lock_timeout_s):  # or a slow disk would hold everybody in one long row
            raise _outage("others wait for it too long")
        try:
            self._refuse_another_file()
            yield self._db
        except sqlite3.Error as error:
            raise _outage(str(error)) from error
        finally:
            self._lock.release()

    def _refuse_another_file(self) -> None:
        """SQLite goes on writing to a file that has lost its name: what is acknowledged would go with the process."""
        try:
            if self._path.stat().st_ino == self._inode:
                return
        except OSError as error:
            raise _outage(f"{self._path}: {error.strerror}") from error
        raise _outage(f"{self._path} was replaced by another file; start the server anew")


def _outage(why: str) -> ServiceError:
    return ServiceError(
        ErrorCode.STORE_UNAVAILABLE, f"the conversation store cannot be used: {why}", retry_after_s=RETRY_AFTER_S
    )


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # conversations are private; the log files take over the mode
        # Autocommit: each statement is a transaction of its own.
        return sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"OCK_STORE: {path} cannot be opened: {error}") from error


@dataclass(frozen=True)
class _Identity:
    """What a file says of itself."""

    application_id: int
    version: int
    tables: list[str]
    columns: list[_Column]


def _identity(db: sqlite3.Connection) -> _Identity:
    """The file's marks, its tables and the columns of ours, read without writing."""
    db.execute("BEGIN")  # one view of all, while another process may be preparing the file
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    columns = _columns(db)
    db.execute("COMMIT")
    return _Identity(int(application_id), int(version), [str(name) for (name,) in names], columns=columns)


def _columns(db: sqlite3.Connection) -> list[_Column]:
    """Name, type, whether it must be set, and place in the key, of each column of `turns`."""
    return [(name, kind, bool(set_), key) for _, name, kind, set_, _, key in db.execute("PRAGMA table_info(turns)")]


def _our_columns() -> list[_Column]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(_SCHEMA)
        return _columns(db)


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA secure_delete = ON")
    db.execute("BEGIN IMMEDIATE")
    db.execute(_SCHEMA)
    db.execute(_INDEX)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _values(row: Row) -> _Values:
    """The columns after the key, in the order of `_COLUMNS`."""
    return (
        row.state.value, row.session_created_at, row.token, row.owner, row.lock_until, row.expires_at, row.record
    )  # fmt: skip


def _row(found: tuple[str, int, str, float, str, str, float, int | None, str]) -> Row:
    session_id, turn, state, created_at, token, owner, lock_until, expires_at, record = found
    return Row(
        session_id,
        turn,
        RowState(state),
        session_created_at=created_at,
        token=token,
        owner=owner,
        lock_until=lock_until,
        expires_at=expires_at,
        record=record,
    )
