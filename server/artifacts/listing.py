"""What lies under an S3 prefix, and what it should hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from server.artifacts.error import ArtifactError
from server.artifacts.folder import MANIFEST


@dataclass(frozen=True)
class RemoteFile:
    """One object; `name` is relative to the prefix, `sha256` is None when no manifest tells it."""

    bucket: str
    key: str
    name: str
    num_bytes: int
    etag: str
    sha256: str | None = None


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of an s3:// address; the prefix ends with a slash unless it is empty.

    Raises:
        ArtifactError: it is none.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ArtifactError(f"{uri!r} is no S3 address; legal is s3://bucket/prefix")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def list_files(client: Any, uri: str) -> list[RemoteFile]:
    """Every file under the prefix, with the checksums that its manifest tells.

    Raises:
        ArtifactError: the prefix is empty or cannot be listed, a name leads out of the folder, or the manifest names a
            file that is not there.
    """
    bucket, prefix = split_uri(uri)
    try:
        files = _objects(client, bucket, prefix)
        checksums = _checksums(client, bucket, f"{prefix}{MANIFEST}") if MANIFEST in files else {}
    except (BotoCoreError, ClientError) as error:
        raise ArtifactError(f"{uri}: cannot be read: {error}") from error
    if not files:
        raise ArtifactError(f"{uri}: there is nothing under this prefix")
    if missing := sorted(set(checksums) - set(files)):
        raise ArtifactError(f"{uri}: the manifest names {missing[0]!r}, which is not there; was it published whole?")
    return [
        RemoteFile(
            file.bucket, file.key, file.name, num_bytes=file.num_bytes, etag=file.etag, sha256=checksums.get(file.name)
        )
        for file in files.values()
    ]


def _objects(client: Any, bucket: str, prefix: str) -> dict[str, RemoteFile]:
    found: dict[str, RemoteFile] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = entry["Key"][len(prefix) :]
            if name and not name.endswith("/"):
                found[_safe(name, bucket)] = RemoteFile(
                    bucket, entry["Key"], name, num_bytes=entry["Size"], etag=entry["ETag"]
                )
    return found


def _checksums(client: Any, bucket: str, key: str) -> dict[str, str]:
    """sha256 by file name; a manifest that holds none gives none."""
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"s3://{bucket}/{key}: not JSON: {error}") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        return {}
    stated = {name: facts.get("sha256") if isinstance(facts, dict) else facts for name, facts in files.items()}
    return {name: checksum for name, checksum in stated.items() if isinstance(checksum, str) and checksum}


def _safe(name: str, bucket: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ArtifactError(f"s3://{bucket}: the name {name!r} leads out of the folder")
    return name
