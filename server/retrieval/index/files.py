"""From what OCK_INDEX names to a local index folder: one version, or the newest of several side by side."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from server.artifacts.error import ArtifactError
from server.artifacts.fetch import Progress, fetch_prefix
from server.artifacts.folder import MANIFEST
from server.artifacts.listing import split_uri
from server.retrieval.index.manifest import read_manifest
from server.retrieval.retriever import RetrievalError

log = logging.getLogger(__name__)


class _Dated(msgspec.Struct):
    """The one field that tells which of several versions is the newest."""

    created: str


def local_index(
    named: str,
    artifact_dir: Path,
    *,
    s3_client: Any = None,
    progress: Progress | None = None,
    deadline_s: float = 3600.0,
) -> Path:
    """The local folder of the index that `named` names: a folder or an s3:// prefix, of one index or of its versions.

    Of several versions the one created last is taken. An S3 index is fetched into `artifact_dir` by one process while
    the others wait, and is verified against its manifest. While S3 cannot be asked, the version that was taken last is.

    Raises:
        RetrievalError: there is no complete index there, or it cannot be fetched.
    """
    if not named.startswith("s3://"):
        return _newest_folder(Path(named).expanduser())
    try:
        client = s3_client if s3_client is not None else _client()
        uri = _version_of(client, named.rstrip("/"), artifact_dir / "index")
        folder = artifact_dir / "index" / f"{uri.rsplit('/', 1)[1]}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"
        return fetch_prefix(uri, folder, s3_client=client, progress=progress, deadline_s=deadline_s)
    except (ArtifactError, BotoCoreError, ClientError) as error:
        raise RetrievalError(f"index {named}: {error}") from error


def _newest_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise RetrievalError(f"index {str(folder)!r}: no such folder; legal are a folder and an s3:// prefix")
    if (folder / MANIFEST).exists():
        return folder
    versions = [child for child in folder.iterdir() if (child / MANIFEST).exists()]
    if not versions:
        raise RetrievalError(f"index folder {folder} has no {MANIFEST}, nor has a folder in it: no complete index")
    return max(versions, key=lambda version: (read_manifest(version).created, version.name))


def _version_of(client: Any, named: str, cache: Path) -> str:
    """The address of the index to take; the one that was taken last while S3 cannot be asked."""
    note = cache / f".{hashlib.sha256(named.encode()).hexdigest()[:12]}.taken"
    try:
        uri = _newest_prefix(client, named)
    except (BotoCoreError, ClientError) as error:
        if not note.is_file():
            raise
        uri = note.read_text("utf-8")
        log.warning("index.unlisted uri=%s, of which %s was taken last: %s", named, uri, error)
        return uri
    cache.mkdir(parents=True, exist_ok=True)
    note.write_text(uri, "utf-8")
    return uri


def _newest_prefix(client: Any, uri: str) -> str:
    bucket, prefix = split_uri(uri)
    if _created(client, bucket, f"{prefix}{MANIFEST}") is not None:
        return uri
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    children = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
    dated = {child: _created(client, bucket, f"{child}{MANIFEST}") for child in children}
    versions = {child: created for child, created in dated.items() if created is not None}
    if not versions:
        raise RetrievalError(f"index {uri}: neither it nor a folder in it has a {MANIFEST}: no complete index")
    newest = max(versions, key=lambda child: (versions[child], child))
    log.info("index.newest uri=s3://%s/%s of=%d", bucket, newest, len(versions))
    return f"s3://{bucket}/{newest.rstrip('/')}"


def _created(client: Any, bucket: str, key: str) -> str | None:
    """When the index with this manifest was made; None when there is no such manifest."""
    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
            return None
        raise
    try:
        return msgspec.json.decode(body, type=_Dated).created
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise RetrievalError(f"index manifest s3://{bucket}/{key} cannot be read: {error}") from error


def _client() -> Any:
    import boto3

    return boto3.client("s3")
