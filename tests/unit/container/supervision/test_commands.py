from __future__ import annotations

import pytest

from container.supervision.commands import Commands


@pytest.mark.parametrize(
    ("cores", "world", "asked", "threads"),
    [(2, 2, None, 1), (8, 2, None, 4), (2, 4, None, 1), (8, 2, "1", 1), (8, 2, "64", 4), (8, 2, "many", 4)],
)
def test_ranks_times_threads_never_exceed_the_cores(cores: int, world: int, asked: str | None, threads: int) -> None:
    environ = {} if asked is None else {"OMP_NUM_THREADS": asked}
    command = Commands(environ, world, "cpu", cores).rank(0, 1, 4000)
    assert command.environ["OMP_NUM_THREADS"] == str(threads)


def test_a_rank_knows_its_place_its_attempt_and_the_group_s_port() -> None:
    command = Commands({"OCK_DTYPE": "int8"}, 2, "cpu", 2).rank(1, 3, 4000)
    assert command.name == "engine.1"
    assert list(command.argv)[1:] == ["-m", "server.engine.rank", "--rank", "1", "--attempt", "3"]
    place = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_SIZE": "2", "MASTER_PORT": "4000"}
    assert {**place, "OCK_DTYPE": "int8", "DS_ACCELERATOR": "cpu"}.items() <= command.environ.items()


def test_the_accelerator_is_left_to_deepspeed_on_gpus() -> None:
    assert "DS_ACCELERATOR" not in Commands({}, 1, "cuda", 2).rank(0, 1, 4000).environ
