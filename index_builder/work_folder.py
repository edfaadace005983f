"""Where a build keeps what it has finished, so that a killed one goes on: whole files, renamed into place."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

_DRAFT = ".draft-"
_LOCK = ".lock"


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
