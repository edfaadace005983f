"""A Ray cluster makes the shards that one machine makes, and goes on where either was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from index_builder.commands import main
from server.ports import free_loopback_port
from tests.unit.index_builder.dumps import article, page, write_dump

NUM_PAGES = 70
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on loopback only
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,
}
BESIDE_PYTHON = Path(sys.executable).parent


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of one machine with two cores, on loopback; its address."""
    port = free_loopback_port()
    options = {"port": port, "num-cpus": 2, "node-ip-address": "127.0.0.1", "object-store-memory": 128 << 20}
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [BESIDE_PYTHON / "ray", "start", "--head", "--block", "--include-dashboard=false", *flags]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as cluster:
        try:
            assert cluster.stdout is not None
            assert any("Ray runtime started" in line for line in cluster.stdout)
            yield f"127.0.0.1:{port}"
        finally:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.communicate(timeout=60)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pages = [article(n, 7) if n % 4 else page(f"R{n}", "#REDIRECT [[X]]") for n in range(NUM_PAGES)]
    return write_dump(tmp_path_factory.mktemp("dump") / "d.xml.bz2", *pages, "<page><title>Broken</title><ns></page>")


def on_cluster(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "index_builder", "--quiet", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def passages(dump: Path, work: Path) -> list[str]:
    return ["passages", "--source", str(dump), "--shard-passages", "96", "--work", str(work)]


def embed(work: Path) -> list[str]:
    return ["embed", "--encoder", "sample", "--work", str(work)]


def files(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("[!.]*")) if path.is_file()}


@pytest.fixture(scope="module")
def alone(dump: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What this process makes."""
    work = tmp_path_factory.mktemp("alone")
    assert main(["--quiet", *passages(dump, work)]) == 0
    assert main(["--quiet", *embed(work), "--workers", "1"]) == 0
    return files(work)


def test_a_cluster_makes_the_shards_of_one_machine_and_goes_on_from_those_that_exist(
    address: str, dump: Path, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    for name, content in alone.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.name not in ("passages.done.json", "000001.arrow", "000002.arrow", "000001.npy", "000003.npy"):
            path.write_bytes(content)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("00000[045].*")}
    for arguments in (passages(dump, tmp_path), embed(tmp_path)):
        done = on_cluster(*arguments, "--ray", address)
        assert done.returncode == 0, done.stderr
    assert files(tmp_path) == alone
    assert len(kept) >= 4
    assert {path: path.stat().st_mtime_ns for path in kept if path.suffix == ".npy"} == {
        path: time for path, time in kept.items() if path.suffix == ".npy"
    }


def test_a_cluster_started_for_the_run_makes_the_same_passages_from_nothing(
    dump: Path, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    done = on_cluster(*passages(dump, tmp_path), "--ray", "local")
    assert done.returncode == 0, done.stderr
    made = {name: content for name, content in alone.items() if name.startswith("passages")}
    assert files(tmp_path) == made
