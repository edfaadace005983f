"""A front's name in its claims, kept over restarts so that its own dead claims are known to be dead."""

from __future__ import annotations

import uuid
from pathlib import Path

from server.chat.store.from_url import SQLITE


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
