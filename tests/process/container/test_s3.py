from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import msgspec
import pytest
from moto.server import ThreadedMotoServer

from container.artifacts.fetch import Fetcher
from container.artifacts.resolve import resolve
from container.console import Console
from container.refusal import Refusal
from server.config import Settings
from server.retrieval.index.manifest import FileFacts, encode_manifest
from tests.unit.index_builder.manifests import made_up_manifest


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
    with pytest.raises(Refusal, match=rf"OCK_CHAT_MODEL: s3://{bucket}/none: there is nothing under this prefix"):
        Fetcher(tmp_path, Console(io.StringIO()))("OCK_CHAT_MODEL", f"s3://{bucket}/none")


def put_version(bucket: str, name: str, created: str) -> None:
    """A version of an index under `wiki`, whose knn.index holds the version's name."""
    facts = {"knn.index": FileFacts(hashlib.sha256(name.encode()).hexdigest(), len(name))}
    manifest = msgspec.structs.replace(made_up_manifest(facts, recall=0.99), created=created)
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key=f"wiki/{name}/knn.index", Body=name.encode())
    client.put_object(Bucket=bucket, Key=f"wiki/{name}/manifest.json", Body=encode_manifest(manifest))


def test_of_several_versions_of_an_index_the_newest_alone_is_fetched(bucket: str, tmp_path: Path) -> None:
    put_version(bucket, "v10", "2026-01-01")
    put_version(bucket, "v9", "2026-02-01")
    fetcher, settings = Fetcher(tmp_path, Console(io.StringIO())), named(tmp_path, f"s3://{bucket}/wiki")
    index = Path(resolve(settings, fetcher, fetcher.newest_index).index)
    assert (index / "knn.index").read_text() == "v9"
    assert [path.read_text() for path in tmp_path.rglob("knn.index")] == ["v9"]


def test_one_version_of_an_index_may_be_named(bucket: str, tmp_path: Path) -> None:
    put_version(bucket, "v10", "2026-01-01")
    put_version(bucket, "v9", "2026-02-01")
    fetcher, settings = Fetcher(tmp_path, Console(io.StringIO())), named(tmp_path, f"s3://{bucket}/wiki/v10/")
    assert (Path(resolve(settings, fetcher, fetcher.newest_index).index) / "knn.index").read_text() == "v10"


def test_a_prefix_without_an_index_is_refused_by_name(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=rf"^OCK_INDEX: index s3://{bucket}/models: .* no complete index$"):
        Fetcher(tmp_path, Console(io.StringIO())).newest_index("OCK_INDEX", f"s3://{bucket}/models")


def named(tmp_path: Path, index: str) -> Settings:
    """Settings with this index, and a model and an encoder that only have the right files."""
    for name in ("chat", "encoder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
        (tmp_path / name / "config.json").write_text("{}")
    words = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    (tmp_path / "chat" / "tokenizer.json").write_text(json.dumps({"model": words}))
    folders = {"chat_model": str(tmp_path / "chat"), "encoder": str(tmp_path / "encoder")}
    return Settings.model_validate({**folders, "index": index})
