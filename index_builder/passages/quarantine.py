"""Documents that failed whenever they were tried: remembered on disk, so that no later run spends seconds on them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from index_builder.code_version import made_by
from index_builder.documents.document import SkippedError
from index_builder.work_folder import write_whole


class Failure(msgspec.Struct, frozen=True):
    """One document: what it is known by, why it is left out, and the code that could not read it."""

    digest: str
    name: str
    cause: str
    detail: str
    made_by: str

    @classmethod
    def of(cls, digest: bytes, skipped: SkippedError) -> Failure:
        """A document that has just failed."""
        return cls(digest.hex(), skipped.name, skipped.cause, detail=skipped.detail, made_by=made_by())

    @property
    def skipped(self) -> SkippedError:
        """What it is skipped for, as when it was tried."""
        return SkippedError(self.cause, self.name, self.detail)


def read_failures(path: Path | None) -> dict[str, Failure]:
    """The failures in a file, by digest, in order; none of other code, which may read them, nor of a torn last line."""
    found: dict[str, Failure] = {}
    if path is None or not path.exists():
        return found
    for line in path.read_bytes().splitlines():
        try:
            failure = msgspec.json.decode(line, type=Failure)
        except msgspec.MsgspecError:
            continue
        if failure.made_by == made_by():
            found.setdefault(failure.digest, failure)
    return found


def append_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Add to a file, on disk when this returns: a run that is killed later knows them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.writelines(msgspec.json.encode(failure) + b"\n" for failure in failures)
        file.flush()
        os.fsync(file.fileno())


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Write a file of these alone; none for none."""
    lines = b"".join(msgspec.json.encode(failure) + b"\n" for failure in failures)
    if lines:
        write_whole(path, lambda draft: draft.write_bytes(lines))
