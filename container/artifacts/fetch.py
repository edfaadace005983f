"""Brings an artifact to this machine."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path, PurePosixPath

from container.console import Console
from container.refusal import Refusal
from server.artifacts.error import ArtifactError
from server.artifacts.fetch import fetch_prefix
from server.artifacts.hub_id import read_hub_id
from server.retrieval.index.files import local_index
from server.retrieval.retriever import RetrievalError

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_REPORT_EVERY_S = 10.0


class Fetcher:
    """Finds the folder that a setting names, or downloads it into a cache that processes share."""

    def __init__(self, cache: Path, console: Console, deadline_s: float = 3600.0) -> None:
        self._cache = cache
        self._console = console
        self._deadline_s = deadline_s

    def __call__(self, setting: str, value: str) -> Path:
        """The local folder of `setting`=`value`: a folder, an s3:// prefix, or a hub id. Raises Refusal."""
        if value.startswith("s3://"):
            return self._from_s3(setting, value)
        folder = Path(value).expanduser()
        if folder.is_dir():
            return folder.resolve()
        hub_id = read_hub_id(value)
        if hub_id is None:
            raise Refusal(f"{setting}={value}: no such folder")
        from container.artifacts.hub import fetch_hub  # the hub's library takes a second to import

        return fetch_hub(setting, hub_id, self._cache, console=self._console, deadline_s=self._deadline_s)

    def newest_index(self, setting: str, value: str) -> Path:
        """The local folder of the index that `setting`=`value` names, or of the newest version below it.

        `value` is a folder or an s3:// prefix; of several versions only the newest is downloaded. Raises Refusal.
        """
        progress = _Progress(self._console, value)
        try:
            return local_index(value, self._cache, progress=progress, deadline_s=self._deadline_s).resolve()
        except RetrievalError as error:
            raise Refusal(f"{setting}: {error}") from error

    def _from_s3(self, setting: str, uri: str) -> Path:
        name = PurePosixPath(uri).name
        folder = self._cache / f"{name}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"
        try:
            return fetch_prefix(
                uri,
                folder,
                progress=_Progress(self._console, uri),
                deadline_s=self._deadline_s,
                keep=lambda name: not name.endswith(_PICKLE_SUFFIXES),
            )
        except ArtifactError as error:
            raise Refusal(f"{setting}: {error}") from error


class _Progress:
    """One line every ten seconds; called from the download's threads."""

    def __init__(self, console: Console, uri: str) -> None:
        self._console = console
        self._uri = uri
        self._began = self._said = time.monotonic()

    def __call__(self, num_bytes: int, total_bytes: int) -> None:
        now = time.monotonic()
        if now - self._said < _REPORT_EVERY_S and num_bytes < total_bytes:
            return
        self._said = now
        rate = num_bytes / max(now - self._began, 1e-3) / 2**20
        done, total = num_bytes >> 20, total_bytes >> 20
        self._console.event("artifact.fetch", of=self._uri, mib=f"{done}/{total}", mib_per_s=rate)
