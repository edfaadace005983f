"""A front's name in its claims, kept over restarts so that its own dead claims are known to be dead."""

from __future__ import annotations

import uuid
from pathlib import Path


def front_owner(run_dir: Path) -> str:
    """The name kept in `run_dir`/owner, made on first use.

    `run_dir` belongs to one container: two live fronts that shared it would take each other's claims.
    """
    path = run_dir / "owner"
    name = path.read_text("ascii").strip() if path.exists() else ""
    if not name:
        name = uuid.uuid4().hex
        run_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "ascii")
    return name
