"""Which files of a package are finished, kept beside them until the manifest takes over."""

from __future__ import annotations

from pathlib import Path

import msgspec

from server.artifacts.folder import sha256_of
from server.engine.weights.manifest import Identity

_FILE = "package.progress.json"


class _Progress(msgspec.Struct, frozen=True):
    identity: Identity
    files: dict[str, str]


class PackageRecord:
    """The finished files of the package `identity` in `folder`, with their checksums.

    What an earlier run over another source or with other options left is not finished.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self._folder = folder
        self._path = folder / _FILE
        self._identity = identity
        self.files: dict[str, str] = {}
        if self._path.is_file():
            known = msgspec.json.decode(self._path.read_bytes(), type=_Progress)
            if known.identity == identity:
                self.files = known.files

    def has(self, name: str) -> bool:
        """Whether `name` is there, whole."""
        path = self._folder / name
        return name in self.files and path.is_file() and sha256_of(path) == self.files[name]

    def add(self, name: str, sha256: str) -> None:
        """`name` is finished."""
        self.files[name] = sha256
        replace_file(self._path, msgspec.json.encode(_Progress(self._identity, self.files)))

    def forget(self) -> None:
        """The manifest has taken over."""
        self._path.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` at once: a reader finds the old file or the new one."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
