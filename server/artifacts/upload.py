"""One file to one object in S3. It carries its checksum, so that an upload that broke off sends nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PART_BYTES = 64 * 1024 * 1024
CHECKSUM = "sha256"  # the metadata that resuming goes by


def is_same(head: Mapping[str, Any], num_bytes: int, sha256: str) -> bool:
    """Whether the object that HeadObject answered `head` for holds these very bytes."""
    return bool(head["ContentLength"] == num_bytes and head.get("Metadata", {}).get(CHECKSUM) == sha256)


def send_file(
    client: Any, path: Path, place: Mapping[str, Any], sha256: str, on_bytes: Callable[[int], object]
) -> None:
    """Send `path` in parallel parts; S3 shows it when all of them have come.

    Args:
        place: Bucket and Key, and what else PutObject is to be told (encryption).
        on_bytes: hears from several threads how many more bytes went out.

    Raises:
        boto3's and botocore's errors.
    """
    from boto3.s3.transfer import TransferConfig

    bucket, key, *rest = place["Bucket"], place["Key"], *(set(place) - {"Bucket", "Key"})
    client.upload_file(
        str(path),
        bucket,
        key,
        ExtraArgs={"Metadata": {CHECKSUM: sha256}, **{name: place[name] for name in rest}},
        Callback=on_bytes,
        Config=TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES),
    )
