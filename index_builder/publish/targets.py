"""Where a version of an index goes: a folder, or an S3 prefix."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from index_builder.manifest import file_facts
from index_builder.work_folder import write_whole
from server.artifacts.error import ArtifactError
from server.artifacts.folder import MANIFEST
from server.artifacts.listing import split_uri
from server.artifacts.upload import is_same, send_file
from server.retrieval.index.manifest import FileFacts


class PublishError(ValueError):
    """An index that must not, or cannot, be published; the sentence names it, what was found and what is legal."""


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


log = logging.getLogger(__name__)

_PROBE = ".write-probe"


class S3Target:
    """Objects carry their checksum as metadata, so that a publication that broke off sends nothing twice.

    Raises:
        PublishError: from here and from every method: S3, or the network on the way, refuses; one sentence.
    """

    def __init__(self, uri: str, client: Any = None) -> None:
        import boto3

        self.address = uri
        with _told(uri):
            self._bucket, self._prefix = split_uri(uri)
            self._client = client if client is not None else boto3.client("s3")

    def manifest(self) -> bytes | None:
        """The manifest that is there already."""
        with _told(self.address):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{MANIFEST}")
                found: bytes = answer["Body"].read()
            except ClientError as error:
                if _is_missing(error):
                    return None
                raise
            return found

    def has(self, name: str, facts: FileFacts) -> bool:
        """Whether this very file was sent before."""
        with _told(self.address):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
            except ClientError as error:
                if _is_missing(error):
                    return False
                raise
        return is_same(head, facts.num_bytes, facts.sha256)

    def put(self, path: Path, name: str, facts: FileFacts, progress: Callable[[int], object]) -> None:
        """Send a file in parallel parts; S3 shows it when all of them have come."""
        with _told(self.address):
            place = {"Bucket": self._bucket, "Key": f"{self._prefix}{name}"}
            send_file(self._client, path, place, sha256=facts.sha256, on_bytes=progress)

    def probe(self) -> None:
        """Write a small object and delete it; one that may not be deleted stays, and does no harm."""
        key = f"{self._prefix}{_PROBE}"
        with _told(self.address):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=b"")
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            log.warning("publish.probe_stays uri=s3://%s/%s error=%s", self._bucket, key, error)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """What S3 and its client raise, as one sentence that names the address."""
    from boto3.exceptions import Boto3Error

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, ArtifactError) as error:
        raise PublishError(f"{uri}: {' '.join(str(error).split())}") from error


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey")
