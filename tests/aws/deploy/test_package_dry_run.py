"""package --dry-run: what a real run downloads, writes and sends, and nothing of it done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from deploy.__main__ import main
from tests.aws.deploy.aws_account import REGION, AwsServer
from tests.aws.deploy.small_checkpoint import write_checkpoint

BUCKET = "models-of-ours"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A GPT-NeoX of two small layers, as save_pretrained writes it."""
    write_checkpoint(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def tensor_bytes(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118 - no mapping


def test_a_dry_run_names_the_files_that_a_real_run_writes_with_their_sizes(checkpoint, tmp_path, capsys):
    flags = ["--chat", str(checkpoint), "--tensor-parallel-degree", "2", "--out", str(tmp_path / "out")]
    assert main(["package", *flags, "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()
    planned = {line["write"]: line["num_bytes"] for line in printed(capsys)}
    assert main(["package", *flags]) == 0
    written = {str(path): path for path in (tmp_path / "out" / "chat").iterdir()}
    assert planned.keys() == written.keys()
    for name, path in written.items():
        if path.suffix == ".safetensors":
            assert planned[name] == tensor_bytes(path)


def test_a_dry_run_to_s3_prints_the_requests_and_sends_none(aws_server: AwsServer, checkpoint, tmp_path, capsys):
    staging = ["--staging", str(tmp_path / "staging"), "--region", REGION]
    flags = ["--chat", str(checkpoint), "--tensor-parallel-degree", "2", "--out", f"s3://{BUCKET}/v1", *staging]
    assert main(["package", *flags, "--dry-run"]) == 0
    lines = printed(capsys)
    keys = [line["parameters"]["Key"] for line in lines if line.get("operation") == "PutObject"]
    assert keys[:3] == [f"v1/chat/{name}.safetensors" for name in ("common", "rank-0", "rank-1")]
    assert keys[-1] == "v1/chat/manifest.json"
    assert aws_server.recorder.num_requests == 0


def test_a_dry_run_of_a_hub_id_prints_the_download_and_fetches_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    flags = ["--moderation", "them/model@v2", "--tensor-parallel-degree", "1", "--out", str(tmp_path / "out")]
    assert main(["package", *flags, "--dry-run"]) == 0
    lines = printed(capsys)
    assert lines[0] == {
        "download": "them/model",
        "revision": "v2",
        "files": ["*.json", "*.jinja", "tokenizer*", "merges.txt", "*.safetensors"],
    }
    names = [Path(line["write"]).name for line in lines if "write" in line]
    assert names[:2] == ["common.safetensors", "rank-0.safetensors"]
    assert names[-1] == "manifest.json"
    assert not (tmp_path / "out").exists()
