"""Archives of files: .zip, .tar and its compressed kinds, read as a stream, member by member."""

from __future__ import annotations

import logging
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from index_builder.documents.compressed import note_damage, opened
from index_builder.documents.document import ReadReport

log = logging.getLogger(__name__)

_TAR_ENDINGS = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst",
)  # fmt: skip
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file within an archive, open while the next one is not asked for."""

    name: str
    num_bytes: int
    file: BinaryIO


def is_archive(name: str) -> bool:
    """Whether a file of this name holds others."""
    return name.lower().endswith((".zip", *_TAR_ENDINGS))


def members(path: Path, report: ReadReport) -> Iterator[Member]:
    """The files of an archive in order; damage ends it, is counted and logged.

    Raises:
        OSError: the archive cannot be opened.
    """
    try:
        yield from _zipped(path) if path.suffix.lower() == ".zip" else _tarred(path)
    except _BROKEN as error:
        note_damage(path, report, f"{type(error).__name__}: {error}")


def _zipped(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                with archive.open(entry) as file:
                    yield Member(entry.filename, entry.file_size, file)  # type: ignore[arg-type]


def _tarred(path: Path) -> Iterator[Member]:
    with _tar(path) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is not None:
                yield Member(entry.name, entry.size, file)  # type: ignore[arg-type]


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    if path.name.lower().endswith((".tar.zst", ".tzst")):
        with path.open("rb") as file, tarfile.open(fileobj=opened(file, ".zst"), mode="r|") as archive:
            yield archive
    else:
        with tarfile.open(path, mode="r|*") as archive:
            yield archive
