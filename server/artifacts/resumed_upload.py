"""A large file to S3 in parts, whose progress is kept beside it: a run that was killed goes on from its parts."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from server.artifacts.upload import CHECKSUM, PART_BYTES, send_file

log = logging.getLogger(__name__)

_MOST_PARTS = 10_000  # S3's own limit
_NUM_THREADS = 8


def send_resumed(
    client: Any, path: Path, place: Mapping[str, str], sha256: str, on_bytes: Callable[[int], object]
) -> None:
    """Send `path` to the Bucket and Key of `place`; S3 shows it when all of it has come.

    What has been sent is noted in a hidden file beside `path`, which goes with success. Parts of an upload that was
    given up cost money until a rule of the bucket, or the next run, ends it.

    Args:
        on_bytes: hears from several threads how many more bytes are there.

    Raises:
        boto3's and botocore's errors.
    """
    if path.stat().st_size <= PART_BYTES:
        send_file(client, path, place, sha256=sha256, on_bytes=on_bytes)
        return
    try:
        _Upload(client, path, place, sha256=sha256, on_bytes=on_bytes).run()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchUpload":
            raise
        log.warning("upload.forgotten key=%s: S3 has let its parts go, it begins again", place["Key"])
        _journal(path).unlink(missing_ok=True)
        _Upload(client, path, place, sha256=sha256, on_bytes=on_bytes).run()


def _journal(path: Path) -> Path:
    return path.with_name(f".{path.name}.upload.jsonl")


class _Upload:
    """One upload: the one that the journal tells of when it is of this very file to this place, else a new one."""

    def __init__(
        self, client: Any, path: Path, place: Mapping[str, str], sha256: str, on_bytes: Callable[[int], object]
    ) -> None:
        self._client = client
        self._path = path
        self._place = dict(place)
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._num_bytes = path.stat().st_size
        self._part_bytes = max(PART_BYTES, -(-self._num_bytes // _MOST_PARTS))
        self._about = {**self._place, "sha256": sha256, "part_bytes": self._part_bytes}
        self._tags: dict[int, str] = {}
        self._upload_id = self._begun() or self._begin(sha256)

    def run(self) -> None:
        numbers = range(1, -(-self._num_bytes // self._part_bytes) + 1)
        for number in self._tags:
            self._on_bytes(self._size(number))
        with ThreadPoolExecutor(_NUM_THREADS, "upload") as pool:
            list(pool.map(self._send, (number for number in numbers if number not in self._tags)))
        parts = [{"PartNumber": number, "ETag": self._tags[number]} for number in numbers]
        self._client.complete_multipart_upload(
            **self._place, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
        )
        _journal(self._path).unlink(missing_ok=True)

    def _begun(self) -> str:
        """The upload that the journal tells of, and its parts; "" when it is of another file or place."""
        try:
            about, *parts = _journal(self._path).read_text("utf-8").splitlines()
            begun = json.loads(about)
        except (OSError, ValueError):
            return ""
        upload_id = str(begun.pop("upload_id", ""))
        if begun != self._about:
            self._end(begun, upload_id)
            return ""
        for line in parts:
            with contextlib.suppress(ValueError):  # a torn last line
                number, tag = json.loads(line)
                self._tags[int(number)] = str(tag)
        return upload_id

    def _end(self, begun: Mapping[str, object], upload_id: str) -> None:
        """Let S3 delete the parts of another upload, which would cost money for ever."""
        with contextlib.suppress(ClientError):
            self._client.abort_multipart_upload(Bucket=begun.get("Bucket"), Key=begun.get("Key"), UploadId=upload_id)

    def _begin(self, sha256: str) -> str:
        answer = self._client.create_multipart_upload(**self._place, Metadata={CHECKSUM: sha256})
        upload_id = str(answer["UploadId"])
        _journal(self._path).unlink(missing_ok=True)
        self._note({**self._about, "upload_id": upload_id})
        return upload_id

    def _send(self, number: int) -> None:
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._part_bytes)
            body = file.read(self._part_bytes)
        answer = self._client.upload_part(**self._place, UploadId=self._upload_id, PartNumber=number, Body=body)
        with self._lock:
            self._tags[number] = str(answer["ETag"])
            self._note([number, self._tags[number]])
        self._on_bytes(len(body))

    def _note(self, line: object) -> None:
        with (
            contextlib.suppress(OSError),
            _journal(self._path).open("a", encoding="utf-8") as journal,
        ):  # a folder to read
            journal.write(f"{json.dumps(line)}\n")

    def _size(self, number: int) -> int:
        return min(self._part_bytes, self._num_bytes - (number - 1) * self._part_bytes)
