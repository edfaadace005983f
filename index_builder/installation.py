"""A finished index put in the place of an earlier one at once: a server that starts meanwhile finds one of the two."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
from pathlib import Path

from index_builder.work_folder import write_whole
from server.artifacts.folder import MANIFEST
from server.retrieval.index.manifest import read_manifest
from server.retrieval.retriever import RetrievalError

log = logging.getLogger(__name__)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)
_WORK = ".work"


def install(result: Path, folder: Path) -> None:
    """Move the index in `result` to `folder`; what else lies in `folder` stays, the files of an earlier index do not.

    A server that has the earlier index open goes on with it: its files are unlinked, not written over.
    """
    target = folder.resolve()
    if not (target / MANIFEST).exists():
        _move_files(result, target)
        return
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    old_names = _names_of_index(target)
    try:
        _move_files(result, fresh)
        _exchange(fresh, target)
    except OSError as error:  # a mount point, or a file system that cannot exchange
        log.warning("install.in_place folder=%s reason=%s", target, error)
        _move_files(fresh if (fresh / MANIFEST).exists() else result, target)
        _remove_stale(target, old_names)
    else:
        _keep_others(fresh, target, old_names)
    shutil.rmtree(fresh, ignore_errors=True)


def _move_files(source: Path, target: Path) -> None:
    """All files of an index, its manifest last."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted((path.name for path in source.iterdir() if path.is_file()), key=lambda name: name == MANIFEST)
    for name in names:
        _move(source / name, target / name)


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError:  # another file system
        write_whole(target, lambda draft: shutil.copyfile(source, draft))
        source.unlink()


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step of the file system."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError("this system has no renameat2")
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _names_of_index(folder: Path) -> set[str]:
    try:
        return {*read_manifest(folder).files, MANIFEST}
    except RetrievalError:
        return {MANIFEST}


def _remove_stale(folder: Path, old_names: set[str]) -> None:
    for name in old_names - _names_of_index(folder):
        (folder / name).unlink(missing_ok=True)


def _keep_others(old: Path, folder: Path, old_names: set[str]) -> None:
    """Give `folder` what a person has put beside the earlier index."""
    for path in old.iterdir():
        if path.name not in old_names and path.name != _WORK and not (folder / path.name).exists():
            path.replace(folder / path.name)
