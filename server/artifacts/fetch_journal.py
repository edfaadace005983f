"""Which files of a folder came whole and were verified, so that the next start reads none of them again."""

from __future__ import annotations

import json
from pathlib import Path

from server.artifacts.listing import RemoteFile

JOURNAL = ".fetched.jsonl"


class FetchJournal:
    """One line a finished file in the folder's journal; a torn last line is overlooked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / JOURNAL
        self._lines = set(self._path.read_text(errors="replace").splitlines()) if self._path.exists() else set()

    def has(self, file: RemoteFile) -> bool:
        """Whether this very object was fetched and is still there in its full size."""
        path = self._folder / file.name
        return _line(file) in self._lines and path.is_file() and path.stat().st_size == file.num_bytes

    def add(self, file: RemoteFile) -> None:
        """Say that `file` came whole."""
        line = _line(file)
        self._lines.add(line)
        with self._path.open("a") as journal:
            journal.write(f"\n{line}\n")


def _line(file: RemoteFile) -> str:
    return json.dumps([file.name, file.num_bytes, file.etag, file.sha256])
