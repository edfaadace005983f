"""An S3 prefix as a local folder: fetched by one process, verified, complete or absent."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from server.artifacts.error import ArtifactError, ChecksumError
from server.artifacts.fetch_journal import FetchJournal
from server.artifacts.folder import MANIFEST
from server.artifacts.folder_lock import FolderLock
from server.artifacts.listing import RemoteFile, list_files
from server.artifacts.ranged_download import RangedDownload

log = logging.getLogger(__name__)

NUM_THREADS = 8
FILE_ATTEMPTS = 3
SPARE_BYTES = 256 << 20
_WHOLE = ".whole.json"  # the names of a folder that came whole
Progress = Callable[[int, int], object]
"""(bytes that have come, bytes of all missing files); called from several threads, one at a time."""


def fetch_prefix(
    s3_uri: str,
    folder: Path,
    *,
    s3_client: Any = None,
    progress: Progress | None = None,
    deadline_s: float = 3600.0,
    keep: Callable[[str], bool] = lambda _: True,
) -> Path:
    """Make `folder` hold the files under `s3_uri`, and return it; at once when it does already.

    One process fetches, the others wait for it. Files come in parallel ranges, go on where a killed run stopped, and
    are checked against the sha256 of the prefix's manifest.json, which is written last; without a manifest their sizes
    are checked. A wrong checksum is logged and fetched again, three times at most. What the prefix no longer holds
    goes. A folder that came whole before is used as it is while S3 cannot be asked.

    Args:
        s3_client: a boto3 S3 client; None makes one from the environment.
        deadline_s: how long to wait for another process that fetches the same folder.
        keep: which names to fetch.

    Raises:
        ArtifactError: nothing there, no access, no room, a checksum that stays wrong, or the deadline has passed.
    """
    client = s3_client if s3_client is not None else _client()
    with FolderLock(folder, deadline_s, lambda holder: log.info("artifact.wait folder=%s holder=%s", folder, holder)):
        try:
            files = [file for file in list_files(client, s3_uri) if keep(file.name)]
        except ArtifactError as error:
            if error.__cause__ is None or not _is_whole(folder):
                raise
            log.warning("artifact.unlisted folder=%s, which came whole before, is used: %s", folder, error)
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not FetchJournal(folder).has(file)]
        if missing:
            (folder / _WHOLE).unlink(missing_ok=True)
            _Fetch(client, folder, missing, progress=progress).run()
            log.info("artifact.done uri=%s folder=%s files=%d", s3_uri, folder, len(missing))
        _make_whole(folder, sorted(file.name for file in files))
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether everything that the prefix held at the last fetch is there."""
    try:
        names = json.loads((folder / _WHOLE).read_text("utf-8"))
    except (OSError, ValueError):  # never written, or torn when the machine stopped
        return False
    return all((folder / name).is_file() for name in names)


def _make_whole(folder: Path, names: list[str]) -> None:
    """Take away what the prefix no longer holds: a reader takes every file of the folder for a part of it."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.name.startswith(".") and name not in names:
            log.warning("artifact.gone folder=%s file=%s", folder, name)
            path.unlink()
    (folder / _WHOLE).write_text(json.dumps(names), "utf-8")


class _Fetch:
    """One run over the files that are missing; the manifest comes last."""

    def __init__(self, client: Any, folder: Path, files: list[RemoteFile], progress: Progress | None) -> None:
        self._client = client
        self._folder = folder
        self._files = sorted(files, key=lambda file: (file.name == MANIFEST, file.name))
        self._total_bytes = sum(file.num_bytes for file in files)
        self._num_bytes = 0
        self._progress = progress
        self._journal = FetchJournal(folder)
        self._lock = threading.Lock()

    def run(self) -> None:
        self._refuse_full_disk()
        with ThreadPoolExecutor(NUM_THREADS, "artifact") as executor:
            for file in self._files:
                self._fetch(file, executor)

    def _fetch(self, file: RemoteFile, executor: ThreadPoolExecutor) -> None:
        for attempt in range(1, FILE_ATTEMPTS + 1):
            before = self._num_bytes
            try:
                self._download(file).run(executor)
                self._journal.add(file)
                return
            except ChecksumError as error:
                if attempt == FILE_ATTEMPTS:
                    raise
                log.warning("artifact.corrupt file=%s attempt=%d detail=%s", file.name, attempt, error)
                self._num_bytes = before

    def _download(self, file: RemoteFile) -> RangedDownload:
        return RangedDownload(self._client, file, self._folder / file.name, on_bytes=self._count)

    def _count(self, num_bytes: int) -> None:
        with self._lock:
            self._num_bytes += num_bytes
            if self._progress is not None:
                self._progress(self._num_bytes, self._total_bytes)

    def _refuse_full_disk(self) -> None:
        needed = sum(self._download(file).num_missing_bytes() for file in self._files) + SPARE_BYTES
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise ArtifactError(
                f"{self._folder}: {_gib(needed)} are needed and {_gib(free)} are free; name another OCK_ARTIFACT_DIR"
            )


def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(max_pool_connections=NUM_THREADS, retries={"mode": "standard"}))


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / (1 << 30):.1f} GiB"
