"""Where a build keeps what it has finished, so that a killed one goes on: whole files, renamed into place; how its
result takes the place of an earlier one; and by which code it was made, since another may make another of one source.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import msgspec

from server.artifacts.folder import MANIFEST
from server.retrieval.index.manifest import read_manifest
from server.retrieval.retriever import RetrievalError

_DRAFT = ".draft-"
_LOCK = ".lock"
QUARANTINE_FILE = "quarantine.jsonl"  # documents that failed whenever they were tried
log = logging.getLogger(__name__)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)
_WORK = ".work"


class WorkFolderError(ValueError):
    """A work folder that belongs to another build, or is incomplete; the sentence says what to do."""


class WorkFolder:
    """Shards and marks of one build. Every file in it is complete: it was renamed into place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def passage_shards(self) -> list[Path]:
        """Finished passage shards, in order and without a gap."""
        return _contiguous(self.path / "passages", ".arrow")

    def passage_shard(self, number: int) -> Path:
        """Where passage shard `number` goes."""
        return self.path / "passages" / f"{number:06d}.arrow"

    def vector_shards(self) -> list[Path]:
        """The vectors of every passage shard, in order.

        Raises:
            WorkFolderError: some are missing.
        """
        paths = [self.vector_shard(number) for number in range(len(self.passage_shards()))]
        missing = [path for path in paths if not path.exists()]
        if missing or not paths:
            raise WorkFolderError(f"work folder {self.path} lacks the vectors of {len(missing)} of {len(paths)} shards")
        return paths

    def vector_shard(self, number: int) -> Path:
        """Where the vectors of passage shard `number` go."""
        return self.path / "vectors" / f"{number:06d}.npy"

    @property
    def quarantine(self) -> Path:
        """Where documents are listed that failed whenever they were tried."""
        return self.path / QUARANTINE_FILE

    @property
    def result(self) -> Path:
        """Where the index is made before it is put where it belongs."""
        return self.path / "result"

    def claim(self, stage: str, inputs: dict[str, str]) -> None:
        """Say which inputs `stage` works on.

        Raises:
            WorkFolderError: it was begun with other inputs.
        """
        found = self.inputs(stage)
        if found is None:
            write_whole(self._inputs_path(stage), lambda draft: draft.write_bytes(msgspec.json.encode(inputs)))
            return
        for name in sorted(inputs.keys() | found.keys()):
            if found.get(name) != inputs.get(name):
                raise WorkFolderError(
                    f"work folder {self.path} was begun with {name} {found.get(name)!r}, now it is "
                    f"{inputs.get(name)!r}; remove the folder or name another with --work"
                )

    def inputs(self, stage: str) -> dict[str, str] | None:
        """The inputs that `stage` was begun with, None while it was not."""
        path = self._inputs_path(stage)
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else None

    def _inputs_path(self, stage: str) -> Path:
        return self.path / f"{stage}.inputs.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out while the block runs; a killed one lets go by itself.

        Raises:
            WorkFolderError: another process works in this folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("w") as file:
            if not _taken(file):
                raise WorkFolderError(
                    f"another process works in {self.path}; wait for it, or name another folder with --work"
                )
            yield

    def mark_done(self, stage: str, facts: dict[str, object]) -> None:
        """Say that `stage` has ended, and what it found."""
        write_whole(self.path / f"{stage}.done.json", lambda draft: draft.write_bytes(msgspec.json.encode(facts)))

    def done(self, stage: str) -> dict[str, object] | None:
        """What `stage` found when it ended, None while it has not."""
        path = self.path / f"{stage}.done.json"
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object]) if path.exists() else None

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)


def sweep_drafts(work: Path, out: Path) -> None:
    """Delete what killed runs left half written in a work folder, and right in the folder of their result."""
    for draft in (*work.rglob(f".*{_DRAFT}*"), *out.glob(f".*{_DRAFT}*")):
        draft.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a draft beside `path`, then rename it: `path` is complete or absent, whenever power fails."""
    with drafted(path) as draft:
        write(draft)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A draft beside `path` that is renamed to it when the block ends, and left behind when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}{_DRAFT}{os.getpid()}")
    yield draft
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def _taken(file: TextIO) -> bool:
    """Whether the lock is ours now: nobody held it, and whoever held it before has not removed the file since."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def _contiguous(folder: Path, suffix: str) -> list[Path]:
    found: list[Path] = []
    while (path := folder / f"{len(found):06d}{suffix}").exists():
        found.append(path)
    return found


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


_PARSERS = ("index_builder.documents",)
_CUTTERS = ("index_builder.passages", "server.retrieval.index.terms")
_WRITERS = (
    "index_builder.index",
    "server.retrieval.index.passage_table",
    "server.retrieval.index.lexical_index",
    "server.retrieval.index.inverted_words",
)
_PARSER_LIBRARIES = (
    "charset-normalizer", "docutils", "lxml", "markdown-it-py", "openpyxl", "pypdf", "python-docx", "python-pptx",
    "selectolax",
)  # fmt: skip
_CUTTER_LIBRARIES = ("sentencex", "pystemmer")


def parser_version() -> str:
    """Changes with the code and libraries that turn files into documents."""
    return _digest(_PARSERS, _PARSER_LIBRARIES)


def cutter_version() -> str:
    """Changes with the code and libraries that turn documents into passages and words."""
    return _digest(_CUTTERS, _CUTTER_LIBRARIES)


def writer_version() -> str:
    """Changes with the code that lays out an index folder."""
    return _digest(_WRITERS, ())


def made_by() -> str:
    """Names the code that makes passages of a source."""
    return f"{parser_version()}-{cutter_version()}"


@cache
def _digest(modules: tuple[str, ...], libraries: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for path in _sources(module):
            digest.update(path.name.encode() + path.read_bytes())
    for library in libraries:
        digest.update(f"{library}={_version(library)}".encode())
    return digest.hexdigest()[:16]


def _sources(module: str) -> list[Path]:
    spec = find_spec(module)
    assert spec is not None, module
    if spec.submodule_search_locations:
        return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))
    assert spec.origin is not None, module
    return [Path(spec.origin)]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
