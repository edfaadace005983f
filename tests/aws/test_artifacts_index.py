"""An index published to S3 is the index that a server opens from S3, or is not there at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest

from index_builder.manifest import file_facts, store_manifest
from index_builder.progress import Progress
from index_builder.publish import publish
from server.artifacts.folder import MANIFEST
from server.retrieval.index.files import local_index
from server.retrieval.index.manifest import read_manifest
from server.retrieval.retriever import RetrievalError
from tests.unit.index_builder.manifests import made_up_manifest

QUIET = Progress(quiet=True)


@pytest.fixture
def root(aws_url: str, request: pytest.FixtureRequest) -> str:
    bucket = f"indexes-{request.node.name[5:40].strip('_').replace('_', '-')}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return f"s3://{bucket}/wiki"


def built(folder: Path, content: bytes, created: str) -> Path:
    folder.mkdir()
    (folder / "knn.index").write_bytes(content)
    manifest = made_up_manifest({"knn.index": file_facts(folder / "knn.index")}, recall=0.99)
    store_manifest(folder, msgspec.structs.replace(manifest, created=created))
    return folder


def test_the_newest_of_several_versions_is_fetched(tmp_path: Path, root: str) -> None:
    publish(built(tmp_path / "a", b"old" * 1000, "2026-01-01"), root, 0.95, QUIET, "v10")
    publish(built(tmp_path / "b", b"new" * 1000, "2026-02-01"), root, 0.95, QUIET, "v9")
    folder = local_index(root, tmp_path / "cache")
    assert (folder / "knn.index").read_bytes() == b"new" * 1000
    assert folder.name.startswith("v9-")


def test_the_index_that_was_taken_last_is_used_while_s3_cannot_be_asked(
    tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(built(tmp_path / "a", b"old" * 1000, "2026-01-01"), root, 0.95, QUIET, "v1")
    publish(built(tmp_path / "b", b"new" * 1000, "2026-02-01"), root, 0.95, QUIET, "v2")
    folder = local_index(root, tmp_path / "cache")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert local_index(root, tmp_path / "cache") == folder
    with pytest.raises(RetrievalError, match="index s3://"):
        local_index(root, tmp_path / "another cache")


def test_one_version_may_be_named(tmp_path: Path, root: str) -> None:
    publish(built(tmp_path / "a", b"old" * 1000, "2026-01-01"), root, 0.95, QUIET, "v1")
    publish(built(tmp_path / "b", b"new" * 1000, "2026-02-01"), root, 0.95, QUIET, "v2")
    folder = local_index(f"{root}/v1/", tmp_path / "cache")
    assert (folder / "knn.index").read_bytes() == b"old" * 1000


def test_a_publication_that_broke_off_is_not_opened(tmp_path: Path, root: str) -> None:
    publish(built(tmp_path / "a", b"old" * 1000, "2026-01-01"), root, 0.95, QUIET, "v1")
    bucket = root.split("/")[2]
    boto3.client("s3").put_object(Bucket=bucket, Key="wiki/v2/knn.index", Body=b"half")
    assert read_manifest(local_index(root, tmp_path / "cache")).created == "2026-01-01"
    with pytest.raises(RetrievalError, match="no complete index"):
        local_index(f"{root}/v2", tmp_path / "cache")


def test_publishing_again_sends_nothing(tmp_path: Path, root: str) -> None:
    folder = built(tmp_path / "a", b"old" * 1000, "2026-01-01")
    publish(folder, root, 0.95, QUIET, "v1")
    client: Any = boto3.client("s3")
    before = stamps(client, root)
    publish(folder, root, 0.95, QUIET, "v1")
    assert stamps(client, root) == before


def test_sending_goes_on_where_it_broke_off(tmp_path: Path, root: str) -> None:
    folder = built(tmp_path / "a", b"old" * 1000, "2026-01-01")
    publish(folder, root, 0.95, QUIET, "v1")
    client: Any = boto3.client("s3")
    before = stamps(client, root)
    client.delete_object(Bucket=root.split("/")[2], Key=f"wiki/v1/{MANIFEST}")
    publish(folder, root, 0.95, QUIET, "v1")
    assert stamps(client, root)["wiki/v1/knn.index"] == before["wiki/v1/knn.index"]


def stamps(client: Any, root: str) -> dict[str, object]:
    entries = client.list_objects_v2(Bucket=root.split("/")[2])["Contents"]
    return {entry["Key"]: entry["LastModified"] for entry in entries}


@pytest.mark.parametrize("address", ["s3://no-such-bucket/x", "s3://"])
def test_an_address_without_an_index_is_refused(tmp_path: Path, aws_url: str, address: str) -> None:
    with pytest.raises(RetrievalError, match="index s3://"):
        local_index(address, tmp_path)
