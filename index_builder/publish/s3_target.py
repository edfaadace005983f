"""A version under an S3 prefix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from server.artifacts.listing import split_uri
from server.retrieval.manifest import MANIFEST, FileFacts

_CHECKSUM = "sha256"


class S3Target:
    """Objects carry their checksum as metadata, so that a publication that broke off sends nothing twice."""

    def __init__(self, uri: str, client: Any = None) -> None:
        import boto3

        self.address = uri
        self._bucket, self._prefix = split_uri(uri)
        self._client = client if client is not None else boto3.client("s3")

    def manifest(self) -> bytes | None:
        """The manifest that is there already."""
        try:
            found: bytes = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{MANIFEST}")["Body"].read()
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        return found

    def has(self, name: str, facts: FileFacts) -> bool:
        """Whether this very file was sent before."""
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
        except ClientError as error:
            if _is_missing(error):
                return False
            raise
        return bool(head["ContentLength"] == facts.num_bytes and head["Metadata"].get(_CHECKSUM) == facts.sha256)

    def put(self, path: Path, name: str, facts: FileFacts, progress: Callable[[int], object]) -> None:
        """Send a file in parallel parts; S3 shows it when all of them have come."""
        self._client.upload_file(
            str(path),
            self._bucket,
            f"{self._prefix}{name}",
            ExtraArgs={"Metadata": {_CHECKSUM: facts.sha256}},
            Callback=progress,
        )


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey")
