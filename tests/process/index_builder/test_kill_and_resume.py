"""A build that is killed goes on, and ends as one that was never interrupted."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from index_builder.__main__ import main
from tests.unit.index_builder.dumps import article, page, write_dump

NUM_KILLS = 20
RESULT = ("passages.arrow", "vectors.npy", "terms.npy", "term_starts.npy", "term_counts.npy", "knn.index")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start at once, because their server has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["index_builder.__main__", "sentence_transformers"])
    return context


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pages = [article(n, 7) if n % 4 else page(f"R{n}", "#REDIRECT [[X]]") for n in range(80)]
    return write_dump(tmp_path_factory.mktemp("dump") / "d.xml.bz2", *pages)


def run(*arguments: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    raise SystemExit(main(["--quiet", *arguments]))


def start(processes: ForkServerContext, *arguments: str) -> multiprocessing.process.BaseProcess:
    process = processes.Process(target=run, args=arguments)
    process.start()
    return process


def flags(dump: Path, folder: Path, workers: int) -> list[str]:
    given = {"source": dump, "encoder": "sample", "out": folder, "workers": workers, "shard-passages": 64}
    return ["build", *(part for name, value in given.items() for part in (f"--{name}", str(value)))]


def finish(processes: ForkServerContext, arguments: list[str]) -> None:
    process = start(processes, *arguments)
    process.join(300)
    assert process.exitcode == 0


def result(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RESULT}


@pytest.fixture(scope="module")
def uninterrupted(
    processes: ForkServerContext, dump: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], float]:
    """What a build gives, and how long it takes once everything is warm."""
    finish(processes, flags(dump, tmp_path_factory.mktemp("warm"), 1))
    folder = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    finish(processes, flags(dump, folder, 1))
    return result(folder), time.monotonic() - started


def test_a_build_killed_at_random_moments_ends_as_an_uninterrupted_one(
    processes: ForkServerContext, dump: Path, tmp_path: Path, uninterrupted: tuple[dict[str, str], float]
) -> None:
    expected, seconds = uninterrupted
    generator = random.Random(20)
    num_killed = number = 0
    while num_killed < NUM_KILLS:
        arguments = flags(dump, tmp_path / str(number), 1)
        process = start(processes, *arguments)
        process.join(generator.uniform(0, seconds * 0.8))
        if process.exitcode is None:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join(60)
            num_killed += 1
        else:
            assert process.exitcode == 0
            assert result(tmp_path / str(number)) == expected
            number += 1
    finish(processes, flags(dump, tmp_path / str(number), 1))
    assert result(tmp_path / str(number)) == expected
    leftovers = [path.name for path in (tmp_path / str(number)).rglob("*") if ".draft-" in path.name]
    assert leftovers == []


def test_killed_encoding_processes_leave_a_sentence_and_whole_shards(
    processes: ForkServerContext, dump: Path, tmp_path: Path, uninterrupted: tuple[dict[str, str], float]
) -> None:
    expected, _ = uninterrupted
    arguments = flags(dump, tmp_path / "out", 2)
    process = start(processes, *arguments)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "out" / ".work" / "vectors").glob("*.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    finish(processes, flags(dump, tmp_path / "out", 1))
    assert result(tmp_path / "out") == expected
