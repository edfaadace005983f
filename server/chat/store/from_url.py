"""From the OCK_STORE setting to a store, and to the name of the front that has it open."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from server.chat.store.breaker import Breaker, behind
from server.chat.store.dynamodb import DynamoRows
from server.chat.store.memory import MemoryRows
from server.chat.store.rows import Rows
from server.chat.store.sqlite import SqliteRows
from server.chat.store.store import Store
from server.config import ConfigError

SQLITE, DYNAMODB, MEMORY = "sqlite:///", "dynamodb://", "memory://"


def open_store(url: str, *, clock: Callable[[], float], session_ttl_s: float, session_lock_s: float) -> Store:
    """The store that `url` names, ready for use; to be called after any fork.

    `sqlite:///name` is a path relative to the working directory, `sqlite:////name` an absolute one. `dynamodb://table`
    finds its region, endpoint and credentials as boto3 does.

    Raises:
        ConfigError: the url is not legal, or what it names cannot be reached, created, or is somebody else's.
    """
    rows = _rows(url)
    rows.check()
    return Store(
        behind(Breaker(), rows), clock=clock, session_ttl_s=session_ttl_s, session_lock_s=session_lock_s,
        waits=url != MEMORY,
    )  # fmt: skip


def _rows(url: str) -> Rows:
    if url == MEMORY:
        return MemoryRows()
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        return SqliteRows(Path(url.removeprefix(SQLITE)))
    if url.startswith(DYNAMODB) and len(url) > len(DYNAMODB):
        return DynamoRows.connect(url.removeprefix(DYNAMODB))
    raise ConfigError(f"OCK_STORE={url!r}: legal are sqlite:///path, dynamodb://table and memory://")


def front_owner(run_dir: Path, store: str) -> str:
    """The name of the one front on `store`, made on first use.

    A SQLite file has one front, so the name lies beside it: a new container on the same volume takes over what a dead
    one had claimed. Elsewhere it lies in `run_dir`, which belongs to one container: two live fronts that shared it
    would take each other's claims.
    """
    path = run_dir / "owner" if not store.startswith(SQLITE) else _beside(Path(store.removeprefix(SQLITE)))
    name = path.read_text("ascii").strip() if path.exists() else ""
    if not name:
        name = uuid.uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "ascii")
    return name


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.owner")
