"""One folder to one S3 prefix: several files at a time, what is there already skipped, the manifest last.

The manifest's presence means that the folder is complete. A prefix that holds another package is not written over:
an earlier endpoint configuration still reads it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws.api import Aws, Call, Say
from deploy.errors import DeployError
from deploy.storage.artifact_sizes import list_objects
from deploy.storage.local_folder import LocalFile, files_of, manifest_checksums
from deploy.storage.progress import Progress
from server.artifacts.folder import MANIFEST, sha256_of
from server.artifacts.listing import split_uri
from server.artifacts.upload import CHECKSUM, PART_BYTES, is_same, send_file


class FolderUpload:
    """The upload of `folder` to `uri`; `key` is the KMS key of the objects, None for the bucket's own."""

    def __init__(self, aws: Aws, folder: Path, uri: str, key: str | None, num_workers: int, say: Say) -> None:
        self._aws = aws
        self._folder = folder
        self._uri = uri
        self._bucket, self._prefix = split_uri(uri)
        self._key = key
        self._num_workers = num_workers
        self._say = say

    def run(self, replace: bool = False) -> None:
        """Uploads what is missing or differs.

        Raises:
            DeployError: a file is missing or differs from the manifest, or another package is there and `replace` is
                false.
        """
        files = files_of(self._folder)
        checksums = self._checksums(files)
        there = self._objects_there()
        same = {file.name for file in files if file.name in there and self._is_same(file, checksums[file.name])}
        self._make_place({file.name for file in files}, there, same, replace=replace)
        progress = Progress(sum(file.num_bytes for file in files), self._uri, self._say)
        progress.skip(sum(file.num_bytes for file in files if file.name in same))
        content = [file for file in files if file.name not in same and file.name != MANIFEST]
        with ThreadPoolExecutor(self._num_workers) as workers:
            list(workers.map(lambda file: self._send(file, checksums[file.name], progress), content))
        for manifest in (file for file in files if file.name not in same and file.name == MANIFEST):
            self._send(manifest, checksums[manifest.name], progress)
        progress.finish()

    def _checksums(self, files: list[LocalFile]) -> dict[str, str]:
        """What each file holds; a dry run believes the manifest instead of reading everything."""
        promised = manifest_checksums(self._folder)
        if self._aws.dry:
            return {file.name: promised.get(file.name) or sha256_of(file.path) for file in files}
        with ThreadPoolExecutor(self._num_workers) as workers:
            found = dict(
                zip((file.name for file in files), workers.map(lambda f: sha256_of(f.path), files), strict=True)
            )
        for name, promise in promised.items():
            if found[name] != promise:
                raise DeployError(f"{self._folder / name} differs from {MANIFEST}: {found[name]}, not {promise}")
        return found

    def _objects_there(self) -> set[str]:
        listing = self._aws.pages(list_objects(self._uri), "Contents")
        return {entry["Key"].removeprefix(self._prefix) for entry in listing}

    def _is_same(self, file: LocalFile, checksum: str) -> bool:
        found = self._aws.find(Call("s3", "HeadObject", self._place(file.name)))
        if found is None:
            return False
        return is_same(found, file.num_bytes, checksum)

    def _make_place(self, names: set[str], there: set[str], same: set[str], replace: bool) -> None:
        """Refuses to touch another package, or takes its manifest and its surplus files away first."""
        surplus = there - names
        differing = (there & names) - same
        complete = MANIFEST in there or MANIFEST not in names  # without a manifest nobody can tell
        if (surplus or (differing and complete)) and not replace:
            raise DeployError(
                f"{self._uri} already holds another {min(surplus | differing)}: an endpoint may be reading it. "
                "Give artifacts.*.s3 a new prefix, or use --replace"
            )
        for name in sorted(surplus | (differing & {MANIFEST})):
            self._aws.send(Call("s3", "DeleteObject", {"Bucket": self._bucket, "Key": self._prefix + name}))

    def _send(self, file: LocalFile, checksum: str, progress: Progress) -> None:
        if self._aws.dry:
            body = f"<{file.num_bytes} bytes of {file.path}, in parts of {PART_BYTES} bytes if longer>"
            told = {**self._place(file.name), "Body": body, "Metadata": {CHECKSUM: checksum}, **self._encryption()}
            self._aws.send(Call("s3", "PutObject", told))
            return
        client: Any = self._aws.client("s3")
        try:
            send_file(
                client,
                file.path,
                {**self._place(file.name), **self._encryption()},
                sha256=checksum,
                on_bytes=progress.advance,
            )
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise DeployError(f"{file.path} could not be uploaded; run the same again to go on: {error}") from error

    def _place(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _encryption(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._key} if self._key else {}
