"""A packaged model in the image: it proves itself and serves, and with one byte changed it does not start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.ports import free_loopback_port
from tests.process.image.podman_cli import ROOT, Container, podman, started


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packaged")
    what = ["--chat", str(ROOT / "container/demo/chat"), "--tensor-parallel-degree", "1", "--dtype", "bfloat16"]
    command = [sys.executable, "-m", "deploy", "package", *what, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out / "chat"


def options(folder: Path) -> tuple[str, ...]:
    return ("--volume", f"{folder}:/opt/ml/model:ro", "--env", "OCK_CHAT_MODEL=/opt/ml/model", "--env", "OCK_INDEX=")


@pytest.fixture
def server(packaged: Path) -> Iterator[Container]:
    with started("ock-test-packaged", free_loopback_port(), *options(packaged)) as container:
        container.wait_until_ready()
        yield container


def test_a_packaged_model_proves_itself_and_serves(server: Container) -> None:
    assert "golden.matched model=chat" in server.log
    status, answer = server.post("/invocations", {"inputs": "Good morning"})
    assert status == 200, answer
    assert answer["outputs"]


def test_a_byte_flipped_in_a_shard_is_refused_once_with_the_file_s_name(packaged: Path) -> None:
    shard = max(packaged.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    with started("ock-test-damaged", free_loopback_port(), *options(packaged)) as container:
        assert container.wait_for_exit() == 2
        assert f"/opt/ml/model/{shard.name} is damaged: its sha256 is" in container.log
        assert "engine.start attempt=2" not in container.log
        assert podman("logs", container.name).stdout.count("engine.start attempt=1") == 1
