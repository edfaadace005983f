"""Publishes an index as a version beside the earlier ones, in a folder or below an S3 prefix; a version that exists is
never written over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from index_builder.manifest import file_facts
from index_builder.progress import Progress
from index_builder.work_folder import write_whole
from server.artifacts.error import ArtifactError
from server.artifacts.folder import MANIFEST
from server.artifacts.listing import split_uri
from server.artifacts.resumed_upload import send_resumed
from server.artifacts.upload import is_same
from server.retrieval.index.manifest import FileFacts, Manifest, read_manifest

log = logging.getLogger(__name__)

_COPY_BYTES = 8 << 20
_PROBE = ".write-probe"


class PublishError(ValueError):
    """An index that must not, or cannot, be published; the sentence names it, what was found and what is legal."""


class Target(Protocol):
    """Where one version goes."""

    address: str

    def manifest(self) -> bytes | None:
        """The manifest that is there already."""
        ...

    def has(self, name: str, facts: FileFacts) -> bool:
        """Whether this very file is there already."""
        ...

    def put(self, path: Path, name: str, facts: FileFacts, progress: Any) -> None:
        """Store a file, whole or not at all."""
        ...


def publish(folder: Path, root: str, recall_floor: float, progress: Progress, version: str | None = None) -> str:
    """Copy the index in `folder` to `root`/version, and return that address; at once when it is there already.

    Raises:
        PublishError: not evaluated, below the floor, damaged, another index has that version, or S3 refuses it.
    """
    manifest = read_manifest(folder)
    refuse_poor(manifest, recall_floor)
    _refuse_damaged(folder, manifest, progress)
    target = _target(root, version or manifest.version)
    mine = (folder / MANIFEST).read_bytes()
    if (theirs := target.manifest()) is not None:
        if theirs != mine:
            raise PublishError(f"{target.address} holds another index already; name another --version")
        return target.address
    _put_missing(target, folder, manifest, progress=progress)
    target.put(folder / MANIFEST, MANIFEST, file_facts(folder / MANIFEST), lambda _: None)
    return target.address


def refuse_unwritable(uri: str) -> None:
    """Write and delete a small object under an s3:// prefix, so that no build of hours ends in a refusal.

    Raises:
        PublishError: it cannot be written.
    """
    S3Target(uri.rstrip("/")).probe()


def refuse_poor(manifest: Manifest, recall_floor: float) -> None:
    """Refuse an index that was not evaluated, or finds too little of what exact search finds.

    Raises:
        PublishError: its recall@10 is unknown, or below the floor.
    """
    if "recall@10" not in manifest.index.recall:
        raise PublishError(f"index {manifest.label} was not evaluated; run `python -m index_builder evaluate` first")
    for depth in ("recall@10", "recall@64"):
        recall = manifest.index.recall.get(depth, 1.0)
        if recall < recall_floor:
            raise PublishError(
                f"index {manifest.label} has a {depth} of {recall}; at least {recall_floor} is legal (--recall-floor)"
            )


def _refuse_damaged(folder: Path, manifest: Manifest, progress: Progress) -> None:
    total = sum(facts.num_bytes for facts in manifest.files.values())
    with progress.stage("verify", total, "B") as bar:
        for name, facts in manifest.files.items():
            if not (folder / name).is_file() or file_facts(folder / name, bar.update) != facts:
                raise PublishError(f"{folder / name} is not what the manifest describes; build the index again")


def _put_missing(target: Target, folder: Path, manifest: Manifest, progress: Progress) -> None:
    missing = {name: facts for name, facts in manifest.files.items() if not target.has(name, facts)}
    with progress.stage("publish", sum(facts.num_bytes for facts in missing.values()), "B") as bar:
        for name, facts in missing.items():
            target.put(folder / name, name, facts, bar.update)


def _target(root: str, version: str) -> Target:
    if root.startswith("s3://"):
        return S3Target(f"{root.rstrip('/')}/{version}")
    return LocalTarget(Path(root).expanduser() / version)


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
            send_resumed(self._client, path, place, sha256=facts.sha256, on_bytes=progress)

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
