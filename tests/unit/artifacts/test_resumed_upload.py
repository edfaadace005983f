"""A large file that was sent in part is not sent from its beginning again."""

# ruff: noqa: N803 - as S3 calls them
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from server.artifacts import resumed_upload
from server.artifacts.resumed_upload import send_resumed

PLACE = {"Bucket": "b", "Key": "k"}
CONTENT = bytes(range(95))


class Store:
    """What S3 keeps of one multipart upload; fails at a part, or forgets it."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.sent: list[int] = []
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, str] = {}
        self.fails_at: int | None = None
        self.upload = 0
        self.ended: list[str] = []

    def create_multipart_upload(self, Bucket: str, Key: str, Metadata: dict[str, str]) -> dict[str, str]:
        self.upload, self.parts, self.metadata = self.upload + 1, {}, Metadata
        return {"UploadId": f"u{self.upload}"}

    def upload_part(self, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, str]:
        if UploadId != f"u{self.upload}":
            raise ClientError({"Error": {"Code": "NoSuchUpload"}}, "UploadPart")
        if PartNumber == self.fails_at:
            raise ClientError({"Error": {"Code": "SlowDown"}}, "UploadPart")
        self.parts[PartNumber] = Body
        self.sent.append(PartNumber)
        return {"ETag": f'"{PartNumber}"'}

    def abort_multipart_upload(self, UploadId: str, **_: Any) -> None:
        self.ended.append(UploadId)

    def complete_multipart_upload(self, Key: str, MultipartUpload: dict[str, list[dict[str, Any]]], **_: Any) -> None:
        assert [part["ETag"] for part in MultipartUpload["Parts"]] == [f'"{n}"' for n in sorted(self.parts)]
        self.objects[Key] = b"".join(self.parts[part["PartNumber"]] for part in MultipartUpload["Parts"])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resumed_upload, "PART_BYTES", 10)
    monkeypatch.setattr(resumed_upload, "_NUM_THREADS", 1)
    (tmp_path / "vectors.npy").write_bytes(CONTENT)
    return tmp_path / "vectors.npy"


def broken_off(store: Store, file: Path) -> None:
    store.fails_at = 6
    with pytest.raises(ClientError, match="SlowDown"):
        send_resumed(store, file, PLACE, "sha", lambda _: None)
    store.fails_at = None
    assert store.sent[:5] == [1, 2, 3, 4, 5]


def test_a_second_run_sends_what_is_missing(file: Path) -> None:
    store, heard = Store(), []
    broken_off(store, file)
    before = set(store.sent)
    store.sent.clear()
    send_resumed(store, file, PLACE, "sha", heard.append)
    assert set(store.sent) == set(range(1, 11)) - before
    assert store.objects["k"] == CONTENT
    assert store.metadata == {"sha256": "sha"}
    assert sum(heard) == len(CONTENT)
    assert [path.name for path in file.parent.iterdir()] == ["vectors.npy"]


def test_another_file_or_place_begins_anew(file: Path) -> None:
    for place, sha256 in (({"Bucket": "b", "Key": "other"}, "sha"), (PLACE, "another")):
        store = Store()
        broken_off(store, file)
        store.sent.clear()
        send_resumed(store, file, place, sha256, lambda _: None)
        assert sorted(store.sent) == list(range(1, 11))
        assert store.objects[place["Key"]] == CONTENT
        assert store.ended == ["u1"]


def test_an_upload_that_s3_has_let_go_begins_anew(file: Path) -> None:
    store = Store()
    broken_off(store, file)
    store.upload += 1  # a rule of the bucket has ended it
    send_resumed(store, file, PLACE, "sha", lambda _: None)
    assert store.objects["k"] == CONTENT


def test_a_torn_journal_costs_a_part_only(file: Path) -> None:
    store = Store()
    broken_off(store, file)
    journal = file.with_name(".vectors.npy.upload.jsonl")
    journal.write_bytes(journal.read_bytes()[:-3])
    send_resumed(store, file, PLACE, "sha", lambda _: None)
    assert store.objects["k"] == CONTENT
