from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from container.console import Console
from container.fetch import Fetcher
from container.refusal import Refusal


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket behind real HTTP with a checkpoint under `models/chat`, a pickle among its files."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="artifacts")
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        client.put_object(Bucket="artifacts", Key=f"models/chat/{name}", Body=name.encode())
    yield "artifacts"
    server.stop()


def test_an_s3_prefix_becomes_a_folder_without_its_pickles(bucket: str, tmp_path: Path) -> None:
    log = io.StringIO()
    folder = Fetcher(tmp_path, Console(log))("OCK_CHAT_MODEL", f"s3://{bucket}/models/chat/")
    found = {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}
    assert found == {name: name for name in ("config.json", "model.safetensors")}
    assert "artifact.fetch of=s3://artifacts/models/chat/ mib=0/0" in log.getvalue()


def test_an_empty_prefix_is_refused_by_name(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=rf"OCK_INDEX: s3://{bucket}/none: there is nothing under this prefix"):
        Fetcher(tmp_path, Console(io.StringIO()))("OCK_INDEX", f"s3://{bucket}/none")
