"""Folders whose sockets, locks and code this user trusts."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def make_own_folder(folder: Path, setting: str) -> None:
    """Make `folder` for this user alone, or see that it is: whoever could put a socket there could read prompts.

    Raises:
        ValueError: it is another user's, or others may write to it.
    """
    check_own_place(folder, setting)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise ValueError(f"{setting}={folder}: it belongs to user {found.st_uid}; legal is a folder of your own.")
    if found.st_mode & 0o022 and not found.st_mode & 0o1000:
        raise ValueError(f"{setting}={folder}: others may write to it (mode {found.st_mode & 0o777:o}); legal is 755.")


def check_own_place(folder: Path, setting: str) -> None:
    """See that nobody else decides what lies at `folder`, where its way leads through one that is open to all, as /tmp.

    Whoever is first makes a name there; what was made must be ours, or root's, and closed to others, links included.

    Raises:
        ValueError: it is not, in one sentence.
    """
    for place in (folder.absolute(), folder.resolve()):
        for open_folder, inside in zip(reversed(place.parents), [*reversed(place.parents), place][1:], strict=True):
            if _is_open_to_all(open_folder):
                _check_ours(inside, f"{setting}={folder}")


def _is_open_to_all(folder: Path) -> bool:
    mode = folder.stat().st_mode if folder.exists() else 0
    return bool(mode & stat.S_IWOTH and mode & stat.S_ISVTX)


def _check_ours(path: Path, named: str) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return  # ours to make
    if found.st_uid not in (os.geteuid(), 0):
        raise ValueError(f"{named}: {path} belongs to user {found.st_uid}, who decides what lies there; name another.")
    if path.is_mount():  # an operator's doing, as volumes of containers are, which are open to all in them
        return
    is_closed = stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX or not found.st_mode & stat.S_IWOTH
    if not is_closed:
        mode = found.st_mode & 0o777
        raise ValueError(f"{named}: others may write to {path} (mode {mode:o}); make it 755 or name another.")
