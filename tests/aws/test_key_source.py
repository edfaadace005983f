"""API keys reach a server as an object in S3, and new ones follow."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import boto3
import pytest

from server.config import ConfigError, Settings
from server.web.app import create_app
from server.web.keys.key_file import ApiKey, digest_of, key_line
from server.web.keys.key_source import KeySource
from server.web.limits.table import MAX_KEY_FILE_BYTES
from tests.unit.web.fakes import Fakes

ALICE, BOB = (key_line(ApiKey(name, digest_of(f"secret of {name}"))) for name in ("alice", "bob"))


@pytest.fixture
def bucket(aws_url: str, tmp_path: Path) -> Any:
    """One that is empty."""
    name = f"keys-{abs(hash(tmp_path))}"
    return boto3.resource("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )


def test_an_object_is_copied_for_its_user_alone_and_again_only_when_it_is_another(bucket: Any, tmp_path: Path) -> None:
    copy = tmp_path / "keys.jsonl"
    source = KeySource(f"s3://{bucket.name}/team/keys.jsonl", copy)
    bucket.put_object(Key="team/keys.jsonl", Body=ALICE.encode())
    assert source.bring()
    assert copy.read_text() == ALICE
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not source.bring()
    bucket.put_object(Key="team/keys.jsonl", Body=f"{ALICE}\n{BOB}".encode())
    assert source.bring()
    assert copy.read_text() == f"{ALICE}\n{BOB}"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "holds no key"), (b"{}", "line 1"), (b"#" * (MAX_KEY_FILE_BYTES + 1), f"more than {MAX_KEY_FILE_BYTES}")],
)
def test_what_is_no_file_of_keys_takes_the_place_of_none(
    bucket: Any, tmp_path: Path, content: bytes, words: str
) -> None:
    copy = tmp_path / "keys.jsonl"
    copy.write_text(ALICE)
    bucket.put_object(Key="keys.jsonl", Body=content)
    with pytest.raises(ConfigError, match=words):
        KeySource(f"s3://{bucket.name}/keys.jsonl", copy).bring()
    assert [path.name for path in tmp_path.iterdir()] == ["keys.jsonl"]
    assert copy.read_text() == ALICE


def test_a_front_asks_for_the_keys_of_the_object_and_starts_with_its_copy_where_that_is_gone(
    bucket: Any, tmp_path: Path
) -> None:
    settings = Settings(api_keys_source=f"s3://{bucket.name}/keys.jsonl", run_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"OCK_API_KEYS_SOURCE='s3://.*' cannot be read"):
        create_app(Fakes(settings=settings).services)
    bucket.put_object(Key="keys.jsonl", Body=ALICE.encode())
    for is_there in (True, False):
        client = create_app(Fakes(settings=settings).services).test_client()
        assert client.post("/invocations", json={"inputs": "hello"}).status_code == 401, is_there
        headers = {"Authorization": "Bearer secret of alice"}
        assert client.post("/invocations", json={"inputs": "hello"}, headers=headers).status_code == 200
        bucket.Object("keys.jsonl").delete()
