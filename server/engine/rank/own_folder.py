"""A folder whose sockets and files this user trusts."""

from __future__ import annotations

import os
from pathlib import Path


def make_own_folder(folder: Path, setting: str) -> None:
    """Make `folder` for this user alone, or see that it is: whoever could put a socket there could read prompts.

    Raises:
        ValueError: it is another user's, or others may write to it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise ValueError(f"{setting}={folder}: it belongs to user {found.st_uid}; legal is a folder of your own.")
    if found.st_mode & 0o022 and not found.st_mode & 0o1000:
        raise ValueError(f"{setting}={folder}: others may write to it (mode {found.st_mode & 0o777:o}); legal is 755.")
