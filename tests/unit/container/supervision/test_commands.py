from __future__ import annotations

from pathlib import Path

import pytest

from container.supervision.commands import Commands, RankPlace


@pytest.mark.parametrize(
    ("cores", "world", "asked", "threads"),
    [(2, 2, None, 1), (8, 2, None, 4), (2, 4, None, 1), (8, 2, "1", 1), (8, 2, "64", 4), (8, 2, "many", 4)],
)
def test_ranks_times_threads_never_exceed_the_cores(cores: int, world: int, asked: str | None, threads: int) -> None:
    environ = {} if asked is None else {"OMP_NUM_THREADS": asked}
    command = Commands(environ, world, "cpu", cores).rank(RankPlace(0, 1, 4000))
    assert command.environ["OMP_NUM_THREADS"] == str(threads)


def test_a_rank_knows_its_place_its_attempt_and_the_group_s_port() -> None:
    command = Commands({"OCK_DTYPE": "int8"}, 2, "cpu", 2).rank(RankPlace(1, 3, 4000))
    assert command.name == "engine.1"
    assert list(command.argv)[1:] == ["-m", "server.engine.rank", "--rank", "1", "--attempt", "3"]
    place = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_SIZE": "2", "MASTER_PORT": "4000"}
    assert {**place, "OCK_DTYPE": "int8", "DS_ACCELERATOR": "cpu"}.items() <= command.environ.items()


def test_the_front_s_threads_share_two_heaps_unless_an_operator_says_otherwise() -> None:
    assert Commands({}, 1, "cpu", 2).front().environ["MALLOC_ARENA_MAX"] == "2"
    assert Commands({"MALLOC_ARENA_MAX": "8"}, 1, "cpu", 2).front().environ["MALLOC_ARENA_MAX"] == "8"


def test_the_accelerator_is_left_to_deepspeed_on_gpus() -> None:
    assert "DS_ACCELERATOR" not in Commands({}, 1, "cuda", 2).rank(RankPlace(0, 1, 4000)).environ


def test_ranks_that_cannot_share_memory_are_told_to_use_sockets() -> None:
    commands = Commands({"OCK_GROUP_INTERFACE": "eth1"}, 2, "cuda", 8)
    over_sockets = {"NCCL_SHM_DISABLE": "1", "OCK_GROUP_TRANSPORT": "socket", "NCCL_SOCKET_IFNAME": "eth1"}
    assert over_sockets.items() <= commands.rank(RankPlace(0, 2, 4000, sockets_only=True)).environ.items()
    assert "NCCL_SHM_DISABLE" not in commands.rank(RankPlace(0, 1, 4000)).environ


def test_ranks_on_cpu_meet_over_loopback_whatever_the_machine_is_called() -> None:
    assert Commands({}, 2, "cpu", 2).rank(RankPlace(0, 1, 4000)).environ["GLOO_SOCKET_IFNAME"] == "lo"


def test_several_groups_have_folders_and_gpus_of_their_own_and_share_the_cores() -> None:
    dirs = [Path("/run/ock/group-0"), Path("/run/ock/group-1")]
    gpus = Commands({}, 4, "cuda", 48, dirs)
    assert [gpus.rank_of(group)(RankPlace(0, 1, 4000)).environ["CUDA_VISIBLE_DEVICES"] for group in (0, 1)] == [
        "0,1,2,3",
        "4,5,6,7",
    ]
    cores = Commands({}, 1, "cpu", 2, dirs).rank_of(1)(RankPlace(0, 1, 4000))
    assert cores.name == "engine.1.0"
    assert cores.environ["OMP_NUM_THREADS"] == "1"
    assert cores.environ["OCK_RUN_DIR"] == "/run/ock/group-1"
    some = Commands({"CUDA_VISIBLE_DEVICES": "7,5,3,1"}, 2, "cuda", 48, dirs)
    assert some.rank_of(1)(RankPlace(0, 1, 4000)).environ["CUDA_VISIBLE_DEVICES"] == "3,1"
