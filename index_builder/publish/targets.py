"""A version in a folder of this machine or of a mounted file system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from index_builder.manifest import file_facts
from index_builder.work_folder import write_whole
from server.artifacts.folder import MANIFEST
from server.retrieval.index.manifest import FileFacts

_COPY_BYTES = 8 << 20


class LocalTarget:
    """Files are copied beside their place and renamed into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = str(folder)

    def manifest(self) -> bytes | None:
        """The manifest that is there already."""
        path = self._folder / MANIFEST
        return path.read_bytes() if path.exists() else None

    def has(self, name: str, facts: FileFacts) -> bool:
        """Whether this very file is there; one of its size may be of another index, whose publication broke off."""
        path = self._folder / name
        return path.is_file() and path.stat().st_size == facts.num_bytes and file_facts(path) == facts

    def put(self, path: Path, name: str, facts: FileFacts, progress: Callable[[int], object]) -> None:
        """Copy a file and rename it into place."""
        write_whole(self._folder / name, lambda draft: _copy(path, draft, progress))


def _copy(path: Path, draft: Path, progress: Callable[[int], object]) -> None:
    with path.open("rb") as source, draft.open("wb") as target:
        while block := source.read(_COPY_BYTES):
            target.write(block)
            progress(len(block))
