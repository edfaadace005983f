"""upload: what is sent, what is skipped, what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from deploy.__main__ import main
from tests.aws.deploy.aws_account import REGION, AwsServer

BUCKET = "models-of-ours"


@pytest.fixture
def account(aws_server: AwsServer) -> AwsServer:
    location = {"LocationConstraint": REGION}
    aws_server.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
    aws_server.recorder.clear()
    return aws_server


@pytest.fixture
def chat(endpoint_toml: Path) -> Path:
    """A packaged folder, named in the file as artifacts.chat.folder."""
    text = endpoint_toml.read_text().replace("[artifacts.chat]\n", '[artifacts.chat]\nfolder = "chat"\n')
    endpoint_toml.write_text(text)
    folder = endpoint_toml.parent / "chat"
    write_package(folder, b"weights")
    return folder


def write_package(folder: Path, weights: bytes) -> None:
    (folder / "rank0").mkdir(parents=True, exist_ok=True)
    content = {"rank0/model.safetensors": weights, "rank0/more.safetensors": weights * 2, "config.json": b"{}"}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    files = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "num_bytes": len(data)} for name, data in content.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def upload(endpoint_toml: Path, *more: str) -> int:
    return main(["upload", "--file", str(endpoint_toml), *more])


def stored(account: AwsServer) -> dict[str, bytes]:
    client = account.client("s3")
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def puts(account: AwsServer) -> list[str]:
    return [path for method, path in account.recorder.paths if method == "PUT"]


def test_every_file_arrives_with_its_checksum_and_the_manifest_last(account, endpoint_toml, chat):
    assert upload(endpoint_toml) == 0
    assert stored(account) == {
        f"chat-20b-tp4/{path.relative_to(chat).as_posix()}": path.read_bytes()
        for path in chat.rglob("*")
        if path.is_file()
    }
    assert puts(account)[-1].endswith("/chat-20b-tp4/manifest.json")
    head = account.client("s3").head_object(Bucket=BUCKET, Key="chat-20b-tp4/rank0/model.safetensors")
    assert head["Metadata"] == {"sha256": hashlib.sha256(b"weights").hexdigest()}


def test_a_second_run_sends_only_what_is_missing(account, endpoint_toml, chat):
    upload(endpoint_toml)
    account.client("s3").delete_object(Bucket=BUCKET, Key="chat-20b-tp4/rank0/more.safetensors")
    account.recorder.clear()
    assert upload(endpoint_toml) == 0
    assert puts(account) == [f"/{BUCKET}/chat-20b-tp4/rank0/more.safetensors"]


def test_an_interrupted_upload_of_other_weights_goes_on(account, endpoint_toml, chat):
    upload(endpoint_toml)
    account.client("s3").delete_object(Bucket=BUCKET, Key="chat-20b-tp4/manifest.json")
    write_package(chat, b"better weights")
    assert upload(endpoint_toml) == 0
    assert stored(account)["chat-20b-tp4/rank0/model.safetensors"] == b"better weights"


def test_another_package_at_the_prefix_is_not_written_over(account, endpoint_toml, chat, capsys):
    upload(endpoint_toml)
    write_package(chat, b"better weights")
    assert upload(endpoint_toml) == 1
    assert "already holds another" in capsys.readouterr().err
    assert stored(account)["chat-20b-tp4/rank0/model.safetensors"] == b"weights"
    assert upload(endpoint_toml, "--replace") == 0
    assert stored(account)["chat-20b-tp4/rank0/model.safetensors"] == b"better weights"


def test_a_file_that_differs_from_the_manifest_is_not_uploaded(account, endpoint_toml, chat, capsys):
    (chat / "rank0/model.safetensors").write_bytes(b"weightz")
    assert upload(endpoint_toml) == 1
    assert "rank0/model.safetensors differs from manifest.json" in capsys.readouterr().err
    assert stored(account) == {}


def test_a_file_that_the_manifest_promises_must_be_there(account, endpoint_toml, chat, capsys):
    (chat / "config.json").unlink()
    assert upload(endpoint_toml) == 1
    assert "config.json is in manifest.json but not there" in capsys.readouterr().err


def test_what_an_earlier_packaging_for_more_ranks_left_is_not_uploaded(account, endpoint_toml, chat):
    (chat / "rank-3.safetensors").write_bytes(b"of another degree")
    assert upload(endpoint_toml) == 0
    assert len(stored(account)) == 4
    assert "chat-20b-tp4/rank-3.safetensors" not in stored(account)


def test_a_packaging_that_did_not_finish_is_not_uploaded(account, endpoint_toml, chat, capsys):
    (chat / "manifest.json").unlink()
    (chat / "rank-0.safetensors").write_bytes(b"weights")
    assert upload(endpoint_toml) == 1
    assert "its packaging did not finish; run the same python -m deploy package again" in capsys.readouterr().err
    assert stored(account) == {}


def test_a_plain_checkpoint_is_uploaded_with_all_but_its_hidden_files(account, endpoint_toml, chat):
    (chat / "manifest.json").unlink()
    (chat / ".cache").mkdir()
    (chat / ".cache" / "lock").write_text("")
    assert upload(endpoint_toml) == 0
    names = ("config.json", "rank0/model.safetensors", "rank0/more.safetensors")
    assert set(stored(account)) == {f"chat-20b-tp4/{name}" for name in names}


def test_a_missing_bucket_is_named_with_the_command_that_makes_it(aws_server, endpoint_toml, chat, capsys):
    assert upload(endpoint_toml) == 1
    assert f"there is no bucket {BUCKET}; make it with: python -m deploy prepare" in capsys.readouterr().err


def test_a_storage_key_encrypts_every_object(account, endpoint_toml, chat):
    with_key = endpoint_toml.read_text().replace("[encryption]", '[encryption]\nstorage_key = "alias/talker"')
    endpoint_toml.write_text(with_key)
    assert upload(endpoint_toml, "chat") == 0
    head = account.client("s3").head_object(Bucket=BUCKET, Key="chat-20b-tp4/config.json")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/talker")


def test_a_dry_run_prints_each_put_and_sends_nothing(account, endpoint_toml, chat, capsys):
    assert upload(endpoint_toml, "--dry-run") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    keys = [line["parameters"]["Key"] for line in lines if line["operation"] == "PutObject"]
    assert sorted(keys)[0] == "chat-20b-tp4/config.json"
    assert keys[-1] == "chat-20b-tp4/manifest.json"
    assert account.recorder.num_requests == 0
