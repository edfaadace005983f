"""A Ray cluster makes the shards that one machine makes, and goes on where either was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from index_builder.__main__ import main
from index_builder.cluster import connected
from index_builder.index import faiss_index
from index_builder.index.faiss_index import choose_index
from index_builder.index.index_files import write_faiss_index
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from server.ports import free_loopback_port
from tests.unit.index_builder.dumps import article, page, write_dump
from tests.unit.index_builder.vectors import clustered, write_shards

NUM_PAGES = 70
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on loopback only
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,
}
OTHER_LANGUAGES = (
    page("Isar", "Die Isar ist ein Fluss. Sie ist {{unité|292|km}} lang. [[Datei:I.jpg|mini|Die Isar]]", page_id=901),
    page("Loire", "La Loire est un fleuve. Elle coule au {{s-|XIX|e}}. L'''eau'' est claire.", page_id=902),
    page("富士山", "富士山は日本の山である。標高は{{Convert|3776|m}}である。", page_id=903),
)
BESIDE_PYTHON = Path(sys.executable).parent


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of one machine with two cores, on loopback; its address."""
    port = free_loopback_port()
    with machine("--head", "--include-dashboard=false", f"--port={port}", "--num-cpus=2"):
        yield f"127.0.0.1:{port}"


@contextmanager
def machine(*flags: str) -> Iterator[subprocess.Popen[str]]:
    """One machine of a cluster, as processes of its own."""
    usual = ["--block", "--node-ip-address=127.0.0.1", f"--object-store-memory={128 << 20}"]
    command = [BESIDE_PYTHON / "ray", "start", *usual, *flags]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as processes:
        try:
            assert processes.stdout is not None
            assert any("Ray runtime started" in line for line in processes.stdout)
            yield processes
        finally:
            with suppress(ProcessLookupError):
                os.killpg(processes.pid, signal.SIGKILL)
            processes.communicate(timeout=60)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pages = [article(n, 7) if n % 4 else page(f"R{n}", "#REDIRECT [[X]]") for n in range(NUM_PAGES)]
    return write_dump(
        tmp_path_factory.mktemp("dump") / "d.xml.bz2",
        *pages,
        *OTHER_LANGUAGES,
        "<page><title>Broken</title><ns></page>",
    )


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


def test_a_cluster_fills_the_lists_of_an_index_as_one_machine_does(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "SHARD_VECTORS", 500)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = {}
    for cluster in (None, address):
        folder = tmp_path / str(cluster is None)
        shards = write_shards(folder / "vectors", clustered(2000, 32), [500] * 4)
        with connected(cluster):
            write_faiss_index(
                choose_index("ivfpq", 2000, 32), shards, WorkFolder(folder / "work"), folder, Progress(quiet=True)
            )
        made[cluster] = [path.read_bytes() for path in sorted((folder / "work" / "index").iterdir())]
    assert len(made[None]) == 5
    assert made[address] == made[None]


def test_a_cluster_started_for_the_run_makes_the_same_passages_from_nothing(
    dump: Path, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    done = on_cluster(*passages(dump, tmp_path), "--ray", "local")
    assert done.returncode == 0, done.stderr
    made = {name: content for name, content in alone.items() if name.startswith("passages")}
    assert files(tmp_path) == made
