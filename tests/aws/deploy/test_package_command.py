"""package: flags that cannot be right stop before the work, and an s3:// target gets the finished folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.__main__ import main
from deploy.packaging.checkpoint import Checkpoint, CheckpointFinder
from deploy.verbs import package
from tests.aws.deploy.aws_account import REGION, AwsServer

BUCKET = "models-of-ours"


@pytest.fixture
def account(aws_server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsServer:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    location = {"LocationConstraint": REGION}
    aws_server.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
    return aws_server


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """The roles and folders that were packaged; each gets one file and a manifest, no model is needed."""
    done: list[tuple[str, Path]] = []

    def write(role: str, checkpoint: Checkpoint, out: Path, arguments: Any) -> None:
        done.append((role, checkpoint.folder))
        out.mkdir(parents=True)
        (out / "rank-0.safetensors").write_text(role)
        (out / "manifest.json").write_text('{"files": {"rank-0.safetensors": ""}}')

    monkeypatch.setattr(package, "_package", write)
    return done


def test_each_model_goes_to_its_own_prefix_and_the_settings_are_printed(
    account: AwsServer, packaged: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    models = ["--chat", str(tmp_path / "one"), "--moderation", str(tmp_path / "two")]
    staging = ["--staging", str(tmp_path / "staging")]
    assert main(["package", *models, "--out", f"s3://{BUCKET}/v1", *staging]) == 0
    assert packaged == [("chat", tmp_path / "one"), ("moderation", tmp_path / "two")]
    keys = [each["Key"] for each in account.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == [
        f"v1/{role}/{name}" for role in ("chat", "moderation") for name in ("manifest.json", "rank-0.safetensors")
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"OCK_CHAT_MODEL=s3://{BUCKET}/v1/chat/",
        f"OCK_MODERATION_MODEL=s3://{BUCKET}/v1/moderation/",
        "OCK_TENSOR_PARALLEL_DEGREE=4",
    ]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--out", "x"], "nothing to package"),
        (["--moderation", ".", "--adapter", "a", "--out", "x"], "--adapter is merged into the chat model"),
        (["--chat", ".", "--tensor-parallel-degree", "0", "--out", "x"], "--tensor-parallel-degree 0: at least 1"),
        (["--chat", ".", "--out", "s3:///prefix"], "no bucket; write s3://bucket/prefix"),
        (["--chat", ".", "--out", "s3://nobody-has-this/prefix"], "there is no bucket nobody-has-this"),
        (["--chat", "./nowhere", "--out", "x"], "--chat ./nowhere: neither a folder, a .gguf file nor a hub id"),
    ],
)
def test_a_flag_that_cannot_be_right_stops_before_the_work(
    account: AwsServer,
    packaged: list[tuple[str, Path]],
    flags: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["package", *flags]) == 1
    assert sentence in capsys.readouterr().err
    assert packaged == []


def test_a_download_that_breaks_off_in_the_middle_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(*_: Any, **__: Any) -> str:
        raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")

    monkeypatch.setattr(package, "CheckpointFinder", lambda: CheckpointFinder(cut))
    assert main(["package", "--chat", "them/model", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "error: --chat them/model: the download failed; run the same again to go on: peer closed" in said
