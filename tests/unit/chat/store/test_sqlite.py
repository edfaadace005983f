"""The SQLite file: whose it is, what is left in it, and what happens when it cannot be used."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from server.chat.records.turn_records import Session, Turn
from server.chat.store.from_url import open_store
from server.chat.store.sqlite import SCHEMA_VERSION, SqliteRows
from server.chat.store.store import Store
from server.config import ConfigError
from server.errors import ErrorCode, ServiceError

SECRET = "the text that must not stay"


def open_file(path: Path, clock: object = time.time, ttl_s: float = 0) -> Store:
    return open_store(f"sqlite:///{path}", clock=clock, session_ttl_s=ttl_s, session_lock_s=60)  # type: ignore[arg-type]


def say(store: Store, session_id: str, text: str = "hi") -> None:
    session = store.load(session_id, 50) or Session(session_id, 1.0)
    claim = store.claim(session, "front")
    store.complete(claim, Turn(claim.turn, text, "hello", "stop", 1.0))


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_somebody_elses_database_stops_the_start_and_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (id INTEGER)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"OCK_STORE: .*other\.sqlite .*other tables \(customers\)"):
        open_file(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE turns DROP COLUMN record", r"with the columns session_id, .*, expires_at; this server reads"),
        ("ALTER TABLE turns RENAME COLUMN token TO ticket", "ticket"),
        ("ALTER TABLE turns ADD COLUMN mood TEXT", "mood"),
        ("PRAGMA user_version = 2", "schema 2"),
        ("DROP TABLE turns; CREATE TABLE other (id INTEGER)", r"columns \(none\)"),
        ("DROP TABLE turns; CREATE TABLE turns (session_id TEXT PRIMARY KEY, content TEXT)", "session_id, content"),
    ],
)
def test_a_file_of_another_schema_stops_the_start_and_is_not_written_to(tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "c.sqlite"
    open_file(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"PRAGMA journal_mode = DELETE; {change}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"OCK_STORE: .*c\.sqlite holds .*{said}"):
        open_file(path)
    assert path.read_bytes() == before


def test_a_file_of_this_schema_from_before_versions_were_noted_is_opened_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    store = open_file(path)
    say(store, "s")
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 0")
    store = open_file(path)
    assert [turn.turn for turn in store.history("s")] == [1]
    store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_file_that_is_no_database_stops_the_start_and_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 500)
    with pytest.raises(ConfigError, match=r"OCK_STORE: .*notes\.txt: file is not a database"):
        open_file(path)
    assert path.read_text() == "dear diary " * 500


def test_a_path_that_is_a_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"OCK_STORE: .* cannot be opened"):
        open_file(tmp_path)


def test_a_missing_folder_is_made_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.sqlite"
    store = open_file(path)
    say(store, "s")
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.iterdir())
    store.close()


def test_erased_text_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    store = open_file(tmp_path / "c.sqlite")
    for _ in range(20):
        say(store, "erased", SECRET)
        say(store, "kept")
    assert SECRET.encode() in bytes_of(tmp_path)
    assert store.delete("erased")
    assert SECRET.encode() not in bytes_of(tmp_path)
    assert len(list(store.history("kept"))) == 20
    store.close()


def test_expired_text_leaves_the_file_while_others_go_on(tmp_path: Path) -> None:
    now = 1000.0
    store = open_file(tmp_path / "c.sqlite", lambda: now, ttl_s=100)
    say(store, "old", SECRET)
    now += 1000
    say(store, "new")
    store.close()
    assert SECRET.encode() not in bytes_of(tmp_path)


def test_a_finished_turn_waits_for_the_disk_and_a_claim_does_not(tmp_path: Path) -> None:
    rows = SqliteRows(tmp_path / "c.sqlite")
    rows.check()
    statements: list[str] = []
    rows._db.set_trace_callback(statements.append)
    store = Store(rows, clock=time.time, session_ttl_s=0, session_lock_s=60)
    claim = store.claim(Session("s", 1.0), "front")
    assert "PRAGMA synchronous = NORMAL" in statements
    statements.clear()
    store.complete(claim, Turn(1, "hi", "hello", "stop", 1.0))
    assert "PRAGMA synchronous = FULL" in statements
    assert "PRAGMA synchronous = NORMAL" not in statements
    store.close()


def test_a_file_that_another_process_holds_is_an_outage_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    rows = SqliteRows(path, busy_timeout_s=0.05)
    rows.check()
    store = Store(rows, clock=time.time, session_ttl_s=0, session_lock_s=60)
    say(store, "s")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ServiceError) as caught:
        say(store, "s")
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert caught.value.retry_after_s
    holder.execute("ROLLBACK")
    holder.close()
    say(store, "s")
    assert [turn.turn for turn in store.history("s")] == [1, 2]
    store.close()


def test_a_full_disk_is_an_outage_with_nothing_half_written(tmp_path: Path) -> None:
    rows = SqliteRows(tmp_path / "c.sqlite")
    rows.check()
    store = Store(rows, clock=time.time, session_ttl_s=0, session_lock_s=60)
    say(store, "s")
    rows._db.execute("PRAGMA max_page_count = 8")
    with pytest.raises(ServiceError, match="full") as caught:
        say(store, "s", "x" * 100_000)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert [turn.turn for turn in store.history("s")] == [1]
    rows._db.execute("PRAGMA max_page_count = 100000")
    say(store, "s", "x" * 100_000)
    assert [turn.turn for turn in store.history("s")] == [1, 2]
    store.close()


def test_a_store_that_became_read_only_is_an_outage_of_writing_alone(tmp_path: Path) -> None:
    rows = SqliteRows(tmp_path / "c.sqlite")
    rows.check()
    store = Store(rows, clock=time.time, session_ttl_s=0, session_lock_s=60)
    say(store, "s")
    rows._db.execute("PRAGMA query_only = ON")  # what a file system mounted anew for reading alone comes to
    with pytest.raises(ServiceError, match="readonly") as caught:
        say(store, "s")
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert [turn.turn for turn in store.history("s")] == [1]
    rows._db.execute("PRAGMA query_only = OFF")
    say(store, "s")
    store.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_is_an_outage_and_no_turn_is_acknowledged_into_the_void(
    tmp_path: Path, replaced: bool
) -> None:
    path = tmp_path / "c.sqlite"
    store = open_file(path)
    say(store, "s")
    path.rename(tmp_path / "moved.sqlite")
    if replaced:
        path.touch()
    with pytest.raises(ServiceError) as caught:
        say(store, "s")
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    (tmp_path / "moved.sqlite").rename(path)  # whoever moved it puts it back
    say(store, "s")
    assert [turn.turn for turn in store.history("s")] == [1, 2]
    store.close()


def test_callers_in_a_row_behind_a_slow_disk_wait_no_longer_than_one_of_them(tmp_path: Path) -> None:
    rows = SqliteRows(tmp_path / "c.sqlite", busy_timeout_s=0.05)
    rows.check()
    with rows._lock, pytest.raises(ServiceError, match="others wait for it too long") as caught:
        rows.get("s", 1)  # the lock is held, as while another thread waits for the disk
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert rows.get("s", 1) is None


def start(path: Path, number: int) -> None:
    store = open_file(path)
    say(store, f"s{number}")
    store.close()


def test_processes_that_start_together_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=start, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    store = open_file(path)
    assert all(store.load(f"s{number}", 50) for number in range(4))
    store.close()
