"""One file from S3 in ranges: several at once, resumed after a kill, verified at the end."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from server.artifacts.error import ArtifactError, ChecksumError
from server.artifacts.folder import sha256_of
from server.artifacts.listing import RemoteFile

log = logging.getLogger(__name__)

PART_BYTES = 16 << 20
PART_ATTEMPTS = 5
_FINISHED = re.compile(r"^(\d+)-(\d+);$", re.MULTILINE)


@dataclass(frozen=True)
class _Part:
    start: int
    end: int  # half-open


class RangedDownload:
    """A file under way: `<name>.part` holds its bytes, `<name>.part.done` which object and which ranges of it.

    Args:
        on_bytes: hears how many bytes came, those of an earlier run included, from any thread.
    """

    def __init__(self, client: Any, file: RemoteFile, target: Path, on_bytes: Callable[[int], object]) -> None:
        self._client = client
        self._file = file
        self._target = target
        self._draft = target.with_name(f"{target.name}.part")
        self._journal = target.with_name(f"{target.name}.part.done")
        self._on_bytes = on_bytes

    def run(self, executor: Executor) -> None:
        """Fetch what is missing, verify, and rename into place.

        Raises:
            ArtifactError: a range failed every attempt, or the object changed meanwhile.
            ChecksumError: the bytes are not those published; nothing of the file is left, so another run begins anew.
        """
        self._target.parent.mkdir(parents=True, exist_ok=True)
        done = self._finished_parts()
        self._on_bytes(sum(part.end - part.start for part in done))
        descriptor = os.open(self._draft, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, self._file.num_bytes)
            missing = [part for part in self._parts() if part not in done]
            _settle([executor.submit(self._fetch, part, descriptor) for part in missing])
        finally:
            os.close(descriptor)
        self._verify()
        self._draft.replace(self._target)
        self._journal.unlink(missing_ok=True)

    def num_missing_bytes(self) -> int:
        """What this file will still take on the disk."""
        on_disk = self._draft.stat().st_blocks * 512 if self._draft.exists() else 0
        return max(0, self._file.num_bytes - on_disk)

    def _parts(self) -> Iterator[_Part]:
        for start in range(0, self._file.num_bytes, PART_BYTES):
            yield _Part(start, min(start + PART_BYTES, self._file.num_bytes))

    def _finished_parts(self) -> set[_Part]:
        """Ranges of this very object that an earlier run finished; begins a new journal when there are none."""
        identity = json.dumps([self._file.key, self._file.etag, self._file.num_bytes])
        if self._draft.exists() and self._journal.exists():
            first, _, rest = self._journal.read_text(errors="replace").partition("\n")
            if first == identity:
                done = {_Part(int(start), int(end)) for start, end in _FINISHED.findall(rest)}
                return done & set(self._parts())
        self._draft.unlink(missing_ok=True)
        self._journal.write_text(f"{identity}\n")
        return set()

    def _fetch(self, part: _Part, descriptor: int) -> None:
        for attempt in range(1, PART_ATTEMPTS + 1):
            try:
                self._copy(part, descriptor)
                break
            except (BotoCoreError, ClientError, HTTPError, ConnectionError, TimeoutError) as error:
                self._refuse_final(error, attempt)
                log.warning("artifact.retry file=%s start=%d attempt=%d", self._file.name, part.start, attempt)
                time.sleep(random.uniform(0.5, 1.0) * min(2.0**attempt * 0.1, 5.0))
        with self._journal.open("a") as journal:
            journal.write(f"\n{part.start}-{part.end};\n")
        self._on_bytes(part.end - part.start)

    def _copy(self, part: _Part, descriptor: int) -> None:
        answer = self._client.get_object(
            Bucket=self._file.bucket,
            Key=self._file.key,
            Range=f"bytes={part.start}-{part.end - 1}",
            IfMatch=self._file.etag,
        )
        position = part.start
        for block in answer["Body"].iter_chunks(1 << 20):
            os.pwrite(descriptor, block, position)
            position += len(block)
        if position != part.end:
            raise ConnectionError(f"{position - part.start} bytes came of {part.end - part.start}")

    def _refuse_final(self, error: Exception, attempt: int) -> None:
        """Raise what no further attempt can mend."""
        address = f"s3://{self._file.bucket}/{self._file.key}"
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("PreconditionFailed", "412"):
                raise ArtifactError(f"{address} changed while it was read; publish versions side by side") from error
            if code in ("AccessDenied", "NoSuchKey", "NoSuchBucket", "403", "404"):
                raise ArtifactError(f"{address} cannot be read: {error}") from error
        if attempt == PART_ATTEMPTS:
            raise ArtifactError(f"{address} cannot be read after {attempt} attempts: {error}") from error

    def _verify(self) -> None:
        if self._file.sha256 is None:
            return
        found = sha256_of(self._draft)
        if found != self._file.sha256:
            self._draft.unlink()
            self._journal.unlink(missing_ok=True)
            raise ChecksumError(
                f"s3://{self._file.bucket}/{self._file.key}: sha256 is {found}, the manifest says {self._file.sha256}"
            )


def _settle(futures: list[Future[None]]) -> None:
    """Wait for all; the first failure cancels what has not begun."""
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
